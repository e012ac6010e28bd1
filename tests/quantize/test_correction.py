"""Biases corrected: what rounding shifts on average is gone, and nothing else has changed."""

from dataclasses import dataclass, field

import pytest
import torch

from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.checkpoint import Quantized
from cpl_edge.quantize.correction import CROPS, correct_biases
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.simulation import FloatPass, Simulation

SIZE = (64, 72)
BITS = 4  # coarse, so that rounding shifts much


@dataclass
class Means(FloatPass):
    found: dict[str, torch.Tensor] = field(default_factory=dict)

    def convolve(self, point, conv, x_BCHW, weight):
        out = super().convolve(point, conv, x_BCHW, weight)
        self.found[point] = out.mean((0, 2, 3))
        return out


def means(simulation, calibration, rounding):
    x_BCHW = torch.cat(calibration.crops)
    with torch.no_grad():
        w_BSN = torch.cat([simulation.student.route(x) for x in calibration.crops])
        run = Means(simulation, rounding)
        simulation.execute(run, x_BCHW, w_BSN)
    return run.found


def biases(student):
    return {name: p.detach().clone() for name, p in student.named_parameters() if "bias" in name}


def test_rounded_convolutions_have_the_means_of_the_float_ones(student, calibration):
    ranges = find_ranges(student, calibration, "percentile")
    kept, before = frozenset({"head", "sum"}), biases(student)
    corrected = correct_biases(student, calibration, ranges, sorted(kept), BITS)
    wanted = means(Simulation(student), calibration, rounding=False)
    plain = means(Simulation(student, BITS, kept, ranges), calibration, True)
    found = means(Simulation(corrected, BITS, kept, ranges), calibration, True)
    assert set(found) == set(wanted) >= {"head", "encoder.0.expand", "up", "tail"}
    for point in set(found) - {"up"}:
        torch.testing.assert_close(found[point], wanted[point], atol=1e-5, rtol=1e-4)
    assert min(float((plain[p] - wanted[p]).abs().max()) for p in ("down", "tail")) > 1e-3
    torch.testing.assert_close(found["head"], plain["head"])  # in float, and so is what it reads
    assert all(torch.equal(value, before[name]) for name, value in biases(student).items())


def test_only_biases_of_restoring_change(student, calibration):
    ranges = find_ranges(student, calibration, "percentile")
    corrected = correct_biases(student, calibration, ranges, (), BITS)
    changed = {
        name
        for name, parameter in student.named_parameters()
        if not torch.equal(parameter, dict(corrected.named_parameters())[name])
    }
    assert changed == {name for name in biases(student) if not name.startswith("router")}


def test_a_pinned_student_is_corrected_as_well(student, calibration):
    pinned = student.pin(torch.full((student.config.prompts,), 1 / student.config.prompts))
    ranges, kept = find_ranges(pinned, calibration, "crops"), frozenset({"sum"})
    corrected = correct_biases(pinned, calibration, ranges, sorted(kept), BITS)
    wanted = means(Simulation(pinned), calibration, False)
    plain = means(Simulation(pinned, BITS, kept, ranges), calibration, True)
    found = means(Simulation(corrected, BITS, kept, ranges), calibration, True)
    for point in ("encoder.0.expand", "middle.0.project", "tail"):
        torch.testing.assert_close(found[point], wanted[point], atol=1e-5, rtol=1e-4)
    assert float((plain["tail"] - wanted["tail"]).abs().max()) > 1e-3


def test_no_more_than_a_few_crops_of_each_degradation_are_in_memory(student, monkeypatch):
    seen = []
    monkeypatch.setattr(
        Simulation, "execute", lambda self, run, x, w: seen.append((len(x), len(w)))
    )
    known = student.config.degradations
    many = make_calibration(CalibrationSet(crops=CROPS + 3), known, SIZE)
    correct_biases(student, many, {})
    assert seen == [(CROPS * len(known),) * 2] * 2


@pytest.fixture
def recipe():
    asked = {"bias_correction": True, "calibration": CalibrationSet(crops=2)}
    return read_quantize_recipe("litert-w8a8").model_copy(update=asked)


def test_the_recipe_asks_for_it_and_a_checkpoint_holds_it_already(student, recipe):
    plain, _ = prepare(student, recipe.model_copy(update={"bias_correction": False}), SIZE)
    folded, how = prepare(student, recipe, SIZE)
    assert not torch.equal(biases(folded)["tail.bias"], biases(plain)["tail.bias"])
    assert how.to_card()["recipe"]["bias_correction"]
    stored = Quantized(
        made="ptq", source="0" * 64, recipe=recipe, ranges=how.ranges, calibration={}
    )
    again, taken = prepare(folded, read_quantize_recipe("onnx-w8a8"), SIZE, stored=stored)
    assert taken.recipe.bias_correction  # the card says what was done
    assert all(torch.equal(value, biases(folded)[name]) for name, value in biases(again).items())
