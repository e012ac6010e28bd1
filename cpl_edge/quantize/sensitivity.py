"""Sensitivity: what rounding one site alone costs, and which sites a mixed recipe keeps in float.

Measured in simulation, against the student in float, on photos that do not calibrate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from cpl_edge.cli import track
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import load_student
from cpl_edge.quantize.calibration import Calibration, make_calibration
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, QuantizeRecipe
from cpl_edge.quantize.simulation import Simulation

_CROPS = CalibrationSet(crops=3, seed=0)  # of each degradation, from the judging photos


@dataclass(frozen=True)
class Sensitivity:
    """Losses in dB of PSNR against the clean crop, mean of the degradation that loses most.

    Attributes:
        everything: with every site rounded.
        alone: site -> with this site alone rounded.
        spared: site -> with every site but this one rounded.
        kept: sites of the mixed recipe.
        mixed: with all but those rounded.
    """

    everything: float
    alone: dict[str, float]
    spared: dict[str, float]
    kept: list[str]
    mixed: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def analyse(
    name: str, recipe: QuantizeRecipe, size: tuple[int, int], data: Path | None, limit: float
) -> Sensitivity:
    """Round one site at a time, then all but one, and find the fewest to keep in float.

    Args:
        name: of the student.
        recipe: with its observer and its calibration set; ``keep_float`` is left out.
        size: of the crops.
        data: photos, or None for those that come with scikit-image.
        limit: mean drop that the mixed recipe aims at, in dB.

    Raises:
        UserError: no such student, or nothing to calibrate on.
    """
    student = load_student(name)
    recipe = recipe.model_copy(update={"keep_float": ()})
    folded, how = prepare(student, recipe, size, data)
    judged = make_calibration(_CROPS, student.config.degradations, size, data, judging=True)
    bits = 16 if recipe.activations == "int16" else 8
    expected = [_restored(student, x_BCHW) for x_BCHW in judged.crops]

    def drop(exact: Sequence[str]) -> float:
        rounded = Simulation(folded, bits, frozenset(exact), how.ranges)
        return _drop(rounded, student, judged, expected)

    sites = Simulation(folded).sites
    everything = drop([])
    alone, spared = {}, {}
    for site in track(sites, "rounding each module alone"):
        alone[site] = drop([other for other in sites if other != site])
        spared[site] = drop([site])
    kept: list[str] = []
    mixed = everything
    for site in sorted(sites, key=lambda site: spared[site]):
        if mixed <= limit:
            break
        found = drop([*kept, site])
        if found < mixed:
            kept, mixed = [*kept, site], found
    return Sensitivity(everything, alone, spared, kept, mixed)


def show(result: Sensitivity) -> None:
    """Print the sites, those that cost most first."""
    table = Table("module", "rounded alone, dB", "all but this, dB", "")
    for site in sorted(result.alone, key=lambda site: -result.alone[site]):
        mark = "float" if site in result.kept else ""
        table.add_row(site, f"{result.alone[site]:.3f}", f"{result.spared[site]:.3f}", mark)
    console = Console()
    console.print(table)
    console.print(
        f"all rounded {result.everything:.3f} dB; mixed {result.mixed:.3f} dB with "
        f"{len(result.kept)} of {len(result.alone)} modules in float"
    )


def write_mixed(path: Path, recipe: QuantizeRecipe, result: Sensitivity) -> None:
    """Write a recipe of precision ``mixed`` that keeps the found sites in float."""
    kept = ", ".join(f'"{site}"' for site in result.kept)
    chosen = recipe.calibration
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# {recipe.target}-{recipe.precision} with the modules in float that cost most.\n"
        f'target = "{recipe.target}"\nprecision = "mixed"\nweights = "{recipe.weights}"\n'
        f'activations = "{recipe.activations}"\nobserver = "{recipe.observer}"\n'
        f"keep_float = [{kept}]\nequalise = {recipe.equalise}\n"
        f"one_sided = {str(recipe.one_sided).lower()}\n\n"
        f"[calibration]\ncrops = {chosen.crops}\nseed = {chosen.seed}\n",
        encoding="utf-8",
    )


def _restored(student: Student, x_BCHW: Tensor) -> Tensor:
    with torch.inference_mode():
        return student.restore(x_BCHW, student.route(x_BCHW))


def _drop(
    rounded: Simulation, student: Student, judged: Calibration, expected: Sequence[Tensor]
) -> float:
    losses: dict[str, list[float]] = {}
    rows = zip(judged.crops, judged.clean, judged.degradations, expected, strict=True)
    for x_BCHW, clean_BCHW, degradation, y_BCHW in rows:
        with torch.inference_mode():
            found = rounded.run(x_BCHW, student.route(x_BCHW))
        loss = _psnr(y_BCHW, clean_BCHW) - _psnr(found, clean_BCHW)
        losses.setdefault(degradation, []).append(loss)
    return max(statistics.mean(values) for values in losses.values())


def _psnr(y_BCHW: Tensor, clean_BCHW: Tensor) -> float:
    error = float((y_BCHW.clamp(0, 1) - clean_BCHW).square().mean())
    return -10 * math.log10(max(error, 1e-12))
