import hashlib
from dataclasses import replace

import numpy as np
import pytest

from cpl_edge.errors import MissingExtra, UserError
from cpl_edge.runtimes.protocol import open_runtime

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from cpl_edge.models.student import Student, StudentConfig  # noqa: E402
from cpl_edge.models.zoo import save_student  # noqa: E402

CONFIG = StudentConfig(widths=(4, 6), blocks=(1, 0, 1), router_widths=(3, 4), router_hidden=5)


@pytest.fixture
def student():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = Student(CONFIG).eval()
        for parameter in student.parameters():  # none of it the identity, as after training
            torch.nn.init.uniform_(parameter, -0.2, 0.3)
        return student


@pytest.fixture
def path(student, tmp_path):
    save_student(student, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def runtime(path):
    threads = torch.get_num_threads()
    runtime = open_runtime(path)
    yield runtime
    runtime.close()
    torch.set_num_threads(threads)


def test_entry_points_are_those_of_the_student(runtime, student):
    rng = np.random.default_rng(0)
    x = rng.random((1, 3, 256, 256), dtype=np.float32)
    w, logits = runtime.run("route", x)
    (y,) = runtime.run("restore", x, w)
    (forward,) = runtime.run("forward", x)
    with torch.inference_mode():
        x_BCHW = torch.from_numpy(x)
        np.testing.assert_array_equal(logits, student.logits(x_BCHW).numpy())
        np.testing.assert_array_equal(w, student.route(x_BCHW).numpy())
        np.testing.assert_array_equal(y, student.restore(x_BCHW, student.route(x_BCHW)).numpy())
    np.testing.assert_array_equal(forward, y)
    assert np.abs(y - x).max() > 0.01


def test_the_description_comes_from_the_weights(runtime, student, path):
    info = runtime.info
    assert (info.student, info.target, info.layout) == ("tiny", "torch", "NCHW")
    assert (info.halo, info.multiple) == (student.halo, student.multiple)
    assert (info.degradations, info.levels) == (CONFIG.degradations, CONFIG.levels)
    assert info.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_choose_what_a_degradation_owns(tmp_path):
    owning = Student(replace(CONFIG, own=("head", "tail"))).requires_grad_(False).eval()
    for parameter in owning.parameters():
        torch.nn.init.uniform_(parameter, -0.2, 0.3)
    save_student(owning, tmp_path / "own.safetensors")
    rng = np.random.default_rng(0)
    x = rng.random((1, 3, 256, 256), dtype=np.float32)
    threads = torch.get_num_threads()
    runtime = open_runtime(tmp_path / "own.safetensors")
    torch.set_num_threads(threads)
    assert tuple(runtime.info.entry_points) == ("forward", "route", "restore")
    for index in range(5):
        w = np.zeros((1, 1, 15), np.float32)
        w[..., 3 * index : 3 * index + 3] = rng.dirichlet(np.ones(3))
        (y,) = runtime.run("restore", x, w)
        expected = owning.of(index).restore(torch.from_numpy(x), torch.from_numpy(w))
        np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-5)
    (forward,) = runtime.run("forward", x)
    (routed,) = runtime.run("restore", x, runtime.run("route", x)[0])
    np.testing.assert_array_equal(forward, routed)
    runtime.close()


def test_threads_reach_torch(path):
    before = torch.get_num_threads()
    try:
        open_runtime(path, threads=3).close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_closed_runtime_runs_no_more(path):
    runtime = open_runtime(path)
    runtime.close()
    with pytest.raises(AssertionError, match="closed"):
        runtime.run("forward", np.zeros((1, 3, 256, 256), np.float32))


@pytest.mark.parametrize("content", [b"", b"hello, this is text"])
def test_what_is_no_student_is_refused(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.safetensors"):
        open_runtime(path)


def test_without_torch_the_extra_is_named(path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'cpl-edge\[train\]'"):
        open_runtime(path)
