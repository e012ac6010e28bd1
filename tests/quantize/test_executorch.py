"""What ExecuTorch's quantiser is told: the same numbers whatever the entry point."""

import copy
from dataclasses import replace

import pytest
import torch

from cpl_edge.errors import CplEdgeError
from cpl_edge.export.build import describe
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.executorch import quantize_entry
from cpl_edge.quantize.preparation import prepare

SIZE = (64, 72)


@pytest.fixture(scope="module")
def program(student, tmp_path_factory):
    weights = tmp_path_factory.mktemp("student") / "tiny.safetensors"
    save_student(student, weights)
    (recipe,) = read_recipes("executorch", precision="w8a8", size="64x72")
    folded, how = prepare(student, recipe.quantization, SIZE)
    target = TARGETS["executorch"]
    info = describe(recipe, target, student, weights)
    return replace(target.lower(folded, info), quantization=how)


def roundings(graph):
    """Scale and zero of every rounding of an activation, in the order of execution."""
    return [
        tuple(node.args[1:3])
        for node in graph.graph.nodes
        if "quantized_decomposed.quantize_per_tensor" in str(node.target)
    ]


def quantized(program, name):
    return quantize_entry(program.entries[name], program.inputs(name), program.quantization)


def test_routing_by_itself_rounds_as_given_weights_do(program):
    """The prompt weights that a router makes are a concatenation: once lost on the way."""
    forward, restore = quantized(program, "forward"), quantized(program, "restore")
    assert roundings(forward) == roundings(restore)
    assert len(roundings(forward)) > 20
    x, w = program.inputs("restore")
    with torch.no_grad():
        w = program.entries["route"](x)[0]
        torch.testing.assert_close(forward(x), restore(x, w), atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["encoder", "middle", ""])
def test_sites_that_stay_in_float_round_nothing(program, part):
    """Sums and products belong to a site but to no module: they once went on rounding."""
    how = program.quantization
    sites = list(dict.fromkeys(point.split(":")[0] for point in how.points if point != "input"))
    kept = [site for site in sites if site.startswith(part)]
    floats = quantized(replace(program, quantization=replace(how, kept=kept)), "restore")
    if not part:
        assert roundings(floats) == []
        return
    # What is read by the first one behind is rounded for it, once or for the skip as well.
    inside = [point for point in how.points if point.split(":")[0] in kept]
    rounded = {round(float(scale), 9) for scale, _ in roundings(floats)}
    for point in inside[:-1]:
        low, high = how.ranges[point]
        assert round((high - low) / 255, 9) not in rounded, point


def test_quiet_channels_keep_their_weights(program):
    """The quantiser's own smallest step would make zeros of them."""
    quiet = copy.deepcopy(program)
    conv = quiet.lowered.encoder[0].expand
    with torch.no_grad():
        conv.weight[0].mul_(1e-3)
    graph = quantized(quiet, "restore")
    stored = [v for v in graph.state_dict().values() if v.dtype == torch.int8 and v.dim() == 4]
    largest = [v[0].abs().max() for v in stored if v.shape == conv.weight.shape]
    assert min(int(value) for value in largest) >= 126


def test_a_rounding_without_a_range_is_a_mistake(program):
    how = program.quantization
    ranges = {point: value for point, value in how.ranges.items() if point != "down"}
    lacking = replace(program, quantization=replace(how, ranges=ranges))
    with pytest.raises(CplEdgeError, match="rounds 'down'"):
        quantized(lacking, "restore")
