"""Core ML programs that round what their convolutions read, held against torch."""

import copy
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cpl_edge.errors import CplEdgeError
from cpl_edge.export.measurement import psnr
from cpl_edge.export.program import ENTRY_POINTS, make_program
from cpl_edge.export.silence import silence
from cpl_edge.export.targets import TARGETS
from cpl_edge.quantize.coreml import site
from cpl_edge.quantize.coreml_activations import grid
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.rounding import round_weights
from cpl_edge.runtimes import ModelInfo
from cpl_edge.runtimes.mil import Mil
from cpl_edge.runtimes.mil_arithmetic import Arithmetic
from cpl_edge.runtimes.mil_program import read_package

SIZE = (64, 72)
RECIPE = read_quantize_recipe("coreml-w8a8").model_copy(
    update={"calibration": CalibrationSet(crops=2)}
)


def program_of(student, pinned=None):
    """A program with what is to be rounded; it routes outside, which converts soonest."""
    folded, how = prepare(student, RECIPE, SIZE, degradation=pinned)
    config, routing = student.config, "split" if pinned is None else "pinned"
    info = ModelInfo(
        student="tiny", target="coreml", precision="w8a8", routing=routing, pinned=pinned,
        height=SIZE[0], width=SIZE[1], layout="NCHW", halo=student.halo, multiple=4,
        degradations=config.degradations, levels=config.levels, sites=1,
        entry_points=ENTRY_POINTS[routing], digest="0" * 64, versions={},
    )  # fmt: skip
    program = make_program(folded, info, TARGETS["coreml"].swaps)
    return replace(program, quantization=how)


@pytest.fixture(scope="module")
def prompted(student, tmp_path_factory):
    program = program_of(student)
    return program, convert(program, tmp_path_factory.mktemp("prompted"))


def convert(program, folder):
    with silence():  # coremltools warns when it is imported
        return TARGETS["coreml"].convert(program, folder)


def pairs(path, function):
    """Site of each convolution that rounds its input -> scale and zero."""
    read = read_package(path).functions[function]
    maker = {output.name: op for op in read.operations for output in op.outputs}
    found = {}
    for operation in read.operations:
        if operation.type != "conv":
            continue
        given = maker[operation.inputs["x"][0]]
        rounded = operation.inputs["weight"][0] in read.compressed
        assert rounded == (given.type == "dequantize")
        if rounded:
            steps = maker[given.inputs["input"][0]]
            assert steps.type == "quantize"
            given_zero = steps.inputs.get("zero_point")
            zero = 0 if given_zero is None else int(read.constants[given_zero[0]])
            scale = float(read.constants[steps.inputs["scale"][0]])
            assert scale == float(read.constants[given.inputs["scale"][0]])
            (weight,) = operation.inputs["weight"]
            found[site(weight.removesuffix("_quantized"))] = scale, zero
    return found


def expected(how, of):
    wanted = {at: grid(*how.ranges[point], "fp16") for at, point in of.items()}
    return {at: (float(scale), int(zero)) for at, (scale, zero) in wanted.items()}


def test_the_ranges_are_those_of_the_students_points(prompted):
    program, path = prompted
    wanted = expected(
        program.quantization,
        {
            "head": "input",
            "encoder.0.project": "encoder.0.prompt:sum",
            "down": "encoder.0.sum",
            "middle.0.expand": "down",
            "middle.0.project": "middle.0.prompt:sum",
            "up": "middle.0.sum",
            "decoder.0.expand": "skip",
            "decoder.0.project": "decoder.0.prompt:sum",
        },
    )
    assert pairs(path, "restore") == wanted
    assert wanted["encoder.0.project"][1] == 0 < wanted["up"][1]  # behind a ReLU, and not
    assert pairs(path, "route") == {}


def test_the_program_computes_what_torch_does_with_rounded_inputs_and_weights(prompted, student):
    program, path = prompted
    how, lowered = program.quantization, copy.deepcopy(program.lowered)
    rounds, constants = pairs(path, "restore"), read_package(path).functions["restore"].constants

    def rounding(scale, zero):
        def hook(module, inputs):
            return (torch.fake_quantize_per_tensor_affine(inputs[0], scale, zero, 0, 255),)

        return hook

    for parameter in lowered.parameters():
        parameter.copy_(parameter.half())
    for name, module in lowered.named_modules():
        at = name.split(".")[0] if name in ("head.1", "up.0", "tail.0") else name
        if isinstance(module, nn.Conv2d) and at in rounds:
            held = constants[f"lowered_{name}_weight_to_fp16_quantized".replace(".", "_")]
            weight, step = (
                torch.from_numpy(held.astype(np.float32)),
                module.weight.abs().max() / 127,
            )
            assert (weight - round_weights(module.weight)).abs().max() < 1.1 * step
            module.weight.copy_(weight)
            module.register_forward_pre_hook(rounding(*rounds[at]))
    x_BCHW = how.calibration.crops[0]
    w_BSN = student.route(x_BCHW).detach()
    with torch.no_grad():
        wanted = lowered.restore(x_BCHW, w_BSN[:, 0]).numpy()
        plain = program.lowered.restore(x_BCHW, w_BSN[:, 0]).numpy()
    found = {}
    for floats in ("fp32", "declared"):
        with closing(Mil(path, arithmetic=Arithmetic(floats))) as runtime:
            (found[floats],) = runtime.run("restore", x_BCHW.numpy(), w_BSN.numpy())
    assert psnr(found["fp32"], wanted) > psnr(plain, wanted) + 15  # it rounds, and as torch does
    assert psnr(found["declared"], wanted) > psnr(plain, wanted) - 6  # fp16 shifts some by a step


def test_a_pinned_program_rounds_behind_its_relus(student, tmp_path):
    pinned = student.pin(torch.full((student.config.prompts,), 1 / student.config.prompts))
    program = program_of(pinned, "rain")
    path = convert(program, tmp_path)
    found = pairs(path, "forward")
    of = {"middle.0.project": "middle.0.expand", "up": "middle.0.sum"}
    wanted = expected(program.quantization, of)
    assert {at: found[at] for at in wanted} == wanted
    assert found["middle.0.project"][1] == 0
    assert len(found) == 8


def test_a_value_without_a_range_is_an_error(prompted, tmp_path):
    program, _ = prompted
    how = program.quantization
    ranges = {point: bounds for point, bounds in how.ranges.items() if point != "skip"}
    entries = {"restore": program.entries["restore"]}
    broken = replace(program, entries=entries, quantization=replace(how, ranges=ranges))
    with pytest.raises(CplEdgeError, match="the program rounds 'skip', which the student does not"):
        convert(broken, tmp_path)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("bounds", [(-1.0, 3.0), (0.0, 900.0), (-0.001, 0.0), (0.5, 2.0)])
def test_a_grid_holds_its_range_and_zero(bounds, dtype):
    scale, zero = grid(*bounds, dtype)
    assert (scale.dtype, zero.dtype) == (np.dtype(dtype.replace("fp", "float")), np.uint8)
    low, high = (0 - int(zero)) * float(scale), (255 - int(zero)) * float(scale)
    slack = float(scale) * 0.5 + 1e-3 * max(map(abs, bounds))  # of rounding the zero, and of fp16
    assert low <= min(bounds[0], 0) + slack
    assert high >= bounds[1] - slack
    assert high - low == pytest.approx(bounds[1] - min(bounds[0], 0), rel=0.01, abs=3e-4)
