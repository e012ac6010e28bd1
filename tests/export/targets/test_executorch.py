"""An ExecuTorch export, run with the bindings of its wheel."""

import pytest
import torch

from cpl_edge.runtimes import ModelInfo


@pytest.fixture(scope="module")
def program(exported):
    from executorch.extension.pybindings import _portable_lib

    path = exported("executorch").folder / "model.pte"
    return _portable_lib._load_program(str(path))


def test_all_gates_ran_and_passed(exported):
    results = exported("executorch").results
    assert "delegation" in {result.name for result in results}
    assert all(result.passed for result in results)


def test_three_methods_compute_what_the_student_computes(program, student):
    x_BCHW = torch.rand(1, 3, 64, 72, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w_BSN, logits, y = student.route(x_BCHW), student.logits(x_BCHW), student(x_BCHW)
    (forward,) = program.load_method("forward")([x_BCHW])
    torch.testing.assert_close(forward, y, atol=1e-5, rtol=0)
    routed = program.load_method("route")([x_BCHW])
    torch.testing.assert_close(routed[0], w_BSN, atol=1e-5, rtol=0)
    torch.testing.assert_close(routed[1], logits, atol=1e-4, rtol=0)
    (restored,) = program.load_method("restore")([x_BCHW, w_BSN])
    torch.testing.assert_close(restored, y, atol=1e-5, rtol=0)


def test_a_constant_method_describes_the_file(program):
    (text,) = program.load_method("cpl_edge")([])
    info = ModelInfo.from_json(text, "model")
    assert (info.target, info.layout, info.height, info.width) == ("executorch", "NCHW", 64, 72)


def test_each_method_is_one_piece_of_xnnpack(exported):
    card = exported("executorch").card
    assert card["operators"] == {name: {"XNNPACK": 1} for name in ("forward", "route", "restore")}
    assert card["partitions"] == {"forward": 1, "route": 1, "restore": 1}


def test_weights_are_stored_once(exported, student):
    parameters = sum(parameter.numel() for parameter in student.parameters())
    # The graphs of the three methods weigh about 70 KB, whatever the student.
    assert exported("executorch").card["bytes"] < 4 * parameters + 100_000


def test_a_pinned_file_has_one_method(exported):
    card = exported("executorch", routing="pinned", degradation="haze").card
    assert card["operators"] == {"forward": {"XNNPACK": 1}}
