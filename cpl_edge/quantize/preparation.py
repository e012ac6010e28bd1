"""From a student and a recipe to what a target's quantiser needs: a folded student and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.models.student import Student
from cpl_edge.quantize.admissible import admissible
from cpl_edge.quantize.balance import balance
from cpl_edge.quantize.calibration import Calibration, likely, make_calibration
from cpl_edge.quantize.checkpoint import Quantized
from cpl_edge.quantize.correction import correct_biases
from cpl_edge.quantize.fitting import fit_rounding
from cpl_edge.quantize.folding import equalise, one_sided
from cpl_edge.quantize.ranges import Ranges, find_ranges
from cpl_edge.quantize.recipe import QuantizeRecipe, kept_in_float
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.quantize.support import REMARKS


@dataclass(frozen=True)
class Quantization:
    """How a student is to be quantised.

    Attributes:
        recipe: that asks for it.
        points: where a target rounds activations, in the order of execution.
        kept: sites that stay in float; the router always does.
        ranges: point -> smallest and largest value; empty without fixed ranges.
        calibration: crops that gave the ranges, or the channels' factors, if they were found now.
        stored: the quantised checkpoint that they come from otherwise.
    """

    recipe: QuantizeRecipe
    points: list[str]
    kept: list[str] = field(default_factory=list)
    ranges: Ranges = field(default_factory=dict)
    calibration: Calibration | None = None
    stored: Quantized | None = None

    def to_card(self) -> dict[str, Any]:
        """What a card says about it."""
        card: dict[str, Any] = {
            "recipe": self.recipe.model_dump(mode="json"),
            "float": ["router", *self.kept],
        }
        if remark := REMARKS.get((self.recipe.target, self.recipe.precision)):
            card["remark"] = remark
        if self.calibration is not None:
            card["calibration"] = self.calibration.to_card()
        if self.stored is not None:
            card |= self.stored.model_dump(mode="json", include={"made", "source", "calibration"})
        return card


def prepare(
    student: Student,
    recipe: QuantizeRecipe,
    size: tuple[int, int],
    data: Path | None = None,
    degradation: str | None = None,
    stored: Quantized | None = None,
    sent: bool = False,
) -> tuple[Student, Quantization]:
    """Fold and calibrate, or take what a quantised checkpoint holds.

    Args:
        student: in evaluation mode, pinned or not; it is not changed.
        recipe: of the target that the student goes to.
        size: of the export, height and width in pixels.
        data: photos to calibrate on, or None for those that come with scikit-image.
        degradation: what the student is for; it is calibrated on nothing else.
        stored: of the student's file; it decides ranges, and what stays in float.
        sent: whether its router decides what is sent to it, for that degradation: then weights are
            also fitted to what the router may mistake for it. Fixed ranges are not, which such
            crops widen: student s-each lost 10 dB of noise (a trial).

    Returns:
        A student of the same function, but for weights that are rounded already and biases that
        correct what rounding shifts, where the recipe asks for it; and the rest.

    Raises:
        UserError: see :func:`make_calibration` and :func:`kept_in_float`.
    """
    points = Simulation(student).points
    sent = sent and not recipe.calibrates
    if stored is not None and recipe.calibrates:
        return _take(student, recipe, points, stored)
    kept = kept_in_float(recipe, Simulation(student).sites)
    if not recipe.reads_crops:
        return student, Quantization(recipe, points, kept)
    chosen = recipe.calibration
    if degradation is not None and not sent:
        chosen = chosen.model_copy(update={"degradations": (degradation,)})
    calibration = make_calibration(chosen, student.config.degradations, size, data)
    if degradation is not None and sent:
        calibration = likely(calibration, student, degradation)
    if recipe.equalise and not sent:  # channels that these crops leave quiet are loud on others
        student = equalise(student, calibration.crops, recipe.equalise)
    if recipe.balance:
        student = balance(student, calibration)
    if recipe.one_sided:
        student = one_sided(student)
    if recipe.rounding == "fitted":
        student = fit_rounding(student, calibration.crops, kept)
    if not recipe.calibrates:
        return student, Quantization(recipe, points, kept, calibration=calibration)
    observer = recipe.observer if degradation is None else recipe.pinned_observer
    ranges = admissible(student, find_ranges(student, calibration, observer))
    if recipe.bias_correction:
        bits = 16 if recipe.activations == "int16" else 8
        student = correct_biases(student, calibration, ranges, kept, bits)
    return student, Quantization(recipe, points, kept, ranges, calibration)


def _take(
    student: Student, recipe: QuantizeRecipe, points: list[str], stored: Quantized
) -> tuple[Student, Quantization]:
    """What a quantised checkpoint holds; its weights were folded and corrected before."""
    if recipe.activations != stored.recipe.activations:
        raise UserError(
            f"this student holds ranges for {stored.recipe.activations} activations, and "
            f"{recipe.target} {recipe.precision} takes {recipe.activations}: export the student "
            "that it was made from"
        )
    own = (
        *("observer", "keep_float", "equalise", "balance", "one_sided", "rounding"),
        *("bias_correction", "calibration"),
    )
    recipe = recipe.model_copy(update={key: getattr(stored.recipe, key) for key in own})
    if recipe.one_sided:
        student = one_sided(student)
    kept = kept_in_float(recipe, Simulation(student).sites)
    ranges = admissible(student, stored.ranges_of(points))
    return student, Quantization(recipe, points, kept, ranges, stored=stored)
