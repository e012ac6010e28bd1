"""Observers compared: what each way of finding ranges loses, calibrated and judged apart."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from rich.console import Console

from cpl_edge.cli import track
from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_shared
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.figures import Judge, Losses, losses_table
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import QuantizeRecipe
from cpl_edge.quantize.sensitivity import JUDGED
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.quantize.support import Observer


def compare(
    name: str,
    recipe: QuantizeRecipe,
    size: tuple[int, int],
    data: Path | None,
    judges: Path | None,
) -> dict[str, dict[str, Losses]]:
    """Observer -> degradation -> losses.

    Args:
        name: of the student.
        recipe: all of it but its observer.
        size: of the crops.
        data: photos that calibrate, every second one; None for those of scikit-image.
        judges: photos that judge; None for the other half of ``data``.

    Raises:
        UserError: no such student, nothing to calibrate on, or a recipe without fixed ranges.
    """
    if not recipe.calibrates:
        raise UserError(f"{recipe.target} {recipe.precision} has no ranges that observers find")
    student = load_shared(name)
    known = student.config.degradations
    judge = Judge(student, make_calibration(JUDGED, known, size, judges or data, judging=True))
    bits = 16 if recipe.activations == "int16" else 8
    found = {}
    for observer in track(list(get_args(Observer)), "trying observers"):
        tried = recipe.model_copy(update={"observer": observer})
        folded, how = prepare(student, tried, size, data)
        simulation = Simulation(folded, bits, frozenset(how.kept), how.ranges)
        found[observer] = judge.losses(simulation.run)
    return found


def show(found: dict[str, dict[str, Losses]]) -> None:
    """Print degradations down and observers across."""
    Console().print(losses_table(list(found.items())))
