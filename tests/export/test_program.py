from dataclasses import replace

import pytest
import torch

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import ENTRY_POINTS, join_programs, make_program
from cpl_edge.runtimes.info import ModelInfo


def info_for(student, routing: str, layout: str = "NCHW") -> ModelInfo:
    return ModelInfo(
        student="tiny",
        target="onnx",
        precision="fp32",
        routing=routing,
        pinned="noise" if routing == "pinned" else None,
        height=64,
        width=72,
        layout=layout,
        halo=student.halo,
        multiple=student.multiple,
        degradations=student.config.degradations,
        levels=student.config.levels,
        sites=1,
        entry_points=ENTRY_POINTS[routing],
        digest="0" * 64,
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_entry_points_are_the_students(student, layout):
    program = make_program(student, info_for(student, "auto", layout), Swaps())
    assert list(program.entries) == ["forward", "route", "restore"]
    (x,) = program.inputs("forward")
    assert x.shape == ((1, 3, 64, 72) if layout == "NCHW" else (1, 64, 72, 3))
    x_BCHW = x if layout == "NCHW" else x.permute(0, 3, 1, 2)
    with torch.no_grad():
        w_BSN, logits_BSL = program.entries["route"](x)
        torch.testing.assert_close(logits_BSL, student.logits(x_BCHW), atol=1e-5, rtol=0)
        torch.testing.assert_close(w_BSN, student.route(x_BCHW), atol=1e-5, rtol=0)
        expected = student(x_BCHW) if layout == "NCHW" else student(x_BCHW).permute(0, 2, 3, 1)
        for y in (program.entries["forward"](x), program.entries["restore"](x, w_BSN)):
            torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)


def test_a_pinned_program_has_one_entry_point_and_no_weights(student):
    w_N = torch.eye(15)[4]
    program = make_program(student.pin(w_N), info_for(student, "pinned"), Swaps())
    assert list(program.entries) == ["forward"]
    (x_BCHW,) = program.inputs("forward")
    with torch.no_grad():
        expected = student.restore(x_BCHW, w_N[None, None])
        y_BCHW = program.entries["forward"](x_BCHW)
    torch.testing.assert_close(y_BCHW, expected, atol=1e-5, rtol=0)


def test_entry_points_share_their_weights(student):
    program = make_program(student, info_for(student, "auto"), Swaps(fold_unshuffle=True))
    shared = {id(entry.lowered) for entry in program.entries.values()}
    assert shared == {id(program.lowered)}


@torch.no_grad()
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_joined_programs_restore_each_with_its_own(owning, layout):
    names = owning.config.degradations
    info = replace(info_for(owning, "split", layout), own=True)
    members = {
        name: make_program(owning.of(index), info, Swaps()) for index, name in enumerate(names)
    }
    program = join_programs(info, members)
    assert list(program.entries) == ["route", *(f"restore_{name}" for name in names)]
    assert program.member("route") is program
    x_BCHW = torch.rand(1, 3, 64, 72)
    x = x_BCHW if layout == "NCHW" else x_BCHW.permute(0, 2, 3, 1)
    w_BSN, logits_BSL = program.entries["route"](x)
    torch.testing.assert_close(logits_BSL, owning.logits(x_BCHW), atol=1e-5, rtol=0)
    torch.testing.assert_close(w_BSN, owning.route(x_BCHW), atol=1e-5, rtol=0)
    for index, name in enumerate(names):
        function = f"restore_{name}"
        assert program.member(function) is members[name]
        assert [tuple(tensor.shape) for tensor in program.inputs(function)] == [
            tuple(x.shape),
            (1, 1, 9),
        ]
        w_BSN = owning.forced(owning.logits(x_BCHW), torch.tensor([index]))
        y = program.entries[function](x, w_BSN)
        y_BCHW = y if layout == "NCHW" else y.permute(0, 3, 1, 2)
        torch.testing.assert_close(y_BCHW, owning.restore(x_BCHW, w_BSN), atol=1e-5, rtol=0)


def test_a_plain_program_is_its_only_member(student):
    program = make_program(student, info_for(student, "auto"), Swaps())
    assert all(program.member(name) is program for name in program.entries)
