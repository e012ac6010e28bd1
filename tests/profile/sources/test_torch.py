"""torch's profile of the student itself."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from cpl_edge.models.zoo import save_student  # noqa: E402
from cpl_edge.profile.model import load_model  # noqa: E402
from cpl_edge.profile.sources.torch import measure  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = Path(__file__).parents[1] / "write_golden.py"
    spec = importlib.util.spec_from_file_location("write_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_student(module.student(), weights)
    return load_model(weights)


def test_modules_by_their_names(model):
    profile = measure(model, "forward", threads=1, runs=2)
    convs = {r.module: r for r in profile.rows if r.operator == "aten::conv2d"}
    assert {r.mapping for r in convs.values()} == {"name"}
    assert convs["encoder.0.expand"].macs == 4 * 4 * 9 * 128 * 128
    assert convs["down"].macs == 4 * 8 * 9 * 64 * 64
    assert convs["router.conv1"].macs == 12 * 4 * 9 * 63 * 63
    assert convs["middle.1.project"].level == "quarter"
    assert profile.accelerator is None and profile.outside == ()
    prompts = {row.prompt_site for row in profile.rows if row.operator == "aten::matmul"}
    assert prompts == {"encoder.0", "middle.0", "middle.1", "decoder.0"}


def test_restore_leaves_the_router_out(model):
    profile = measure(model, "restore", threads=1, runs=1)
    assert not any(row.module.startswith("router") for row in profile.rows)
    assert profile.calls[0].macs == sum(row.macs or 0 for row in profile.rows)


def test_threads_are_given_back(model):
    before = torch.get_num_threads()
    measure(model, "route", threads=before + 1, runs=1)
    assert torch.get_num_threads() == before
