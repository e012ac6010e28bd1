"""Sensitivity: what rounding one module alone costs, and which ones a mixed recipe keeps in float.

Measured in simulation, against the student in float, on photos that do not calibrate. The plot is
`cpl_edge.quantize.sensitivity_plot`, the view into the layers `cpl_edge.quantize.layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cpl_edge.cli import track
from cpl_edge.models.zoo import load_shared
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.figures import Judge
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, QuantizeRecipe
from cpl_edge.quantize.simulation import Simulation

JUDGED = CalibrationSet(crops=3, seed=0)  # of each degradation, from the judging photos

Drops = dict[str, float]
"""Degradation -> mean loss of PSNR against the clean crops, in dB."""


@dataclass(frozen=True)
class Sensitivity:
    """What rounding costs, module by module.

    Attributes:
        everything: with every module rounded.
        alone: module -> with this one alone rounded.
        spared: module -> with every one but this one rounded.
        kept: modules of the mixed recipe, in the order in which they were chosen.
        mixed: with all but those rounded.
    """

    everything: Drops
    alone: dict[str, Drops]
    spared: dict[str, Drops]
    kept: list[str]
    mixed: Drops

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def analyse(
    name: str, recipe: QuantizeRecipe, size: tuple[int, int], data: Path | None, limit: float
) -> Sensitivity:
    """Round one module at a time, then all but one, and find the fewest to keep in float.

    Args:
        name: of the student.
        recipe: with its observer and its calibration set; ``keep_float`` is left out.
        size: of the crops.
        data: photos, or None for those that come with scikit-image.
        limit: mean drop in dB, of the degradation that loses most, that the mixed recipe aims at.

    Raises:
        UserError: no such student, or nothing to calibrate on.
    """
    student = load_shared(name)
    recipe = recipe.model_copy(update={"keep_float": ()})
    folded, how = prepare(student, recipe, size, data)
    known = student.config.degradations
    judge = Judge(student, make_calibration(JUDGED, known, size, data, judging=True))
    bits = 16 if recipe.activations == "int16" else 8

    def drops(exact: Sequence[str]) -> Drops:
        rounded = Simulation(folded, bits, frozenset(exact), how.ranges)
        return {key: losses.mean for key, losses in judge.losses(rounded.run).items()}

    sites = Simulation(folded).sites
    everything = drops([])
    alone, spared = {}, {}
    for site in track(sites, "rounding each module alone"):
        alone[site] = drops([other for other in sites if other != site])
        spared[site] = drops([site])
    kept: list[str] = []
    mixed = everything
    for site in sorted(sites, key=lambda site: worst(spared[site])):
        if worst(mixed) <= limit:
            break
        found = drops([*kept, site])
        if worst(found) < worst(mixed):
            kept, mixed = [*kept, site], found
    return Sensitivity(everything, alone, spared, kept, mixed)


def worst(drops: Drops) -> float:
    """Loss of the degradation that loses most."""
    return max(drops.values())


def show(result: Sensitivity) -> None:
    """Print the modules, those that cost most first."""
    table = Table("module", "rounded alone, dB", "all but this, dB", "")
    for site in sorted(result.alone, key=lambda site: -worst(result.alone[site])):
        mark = "float" if site in result.kept else ""
        alone, spared = worst(result.alone[site]), worst(result.spared[site])
        table.add_row(site, f"{alone:.3f}", f"{spared:.3f}", mark)
    console = Console()
    console.print(table)
    console.print(
        f"all rounded {worst(result.everything):.3f} dB; mixed {worst(result.mixed):.3f} dB with "
        f"{len(result.kept)} of {len(result.alone)} modules in float"
    )


def mixed_recipe(recipe: QuantizeRecipe, result: Sensitivity) -> QuantizeRecipe:
    """The recipe of precision ``mixed`` that keeps the found modules in float."""
    return recipe.model_copy(update={"precision": "mixed", "keep_float": tuple(result.kept)})


def write_mixed(path: Path, recipe: QuantizeRecipe, result: Sensitivity) -> None:
    """Write the mixed recipe as TOML."""
    kept = ", ".join(f'"{site}"' for site in result.kept)
    chosen = recipe.calibration
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# {recipe.target}-{recipe.precision} with the modules in float that cost most.\n"
        f'target = "{recipe.target}"\nprecision = "mixed"\nweights = "{recipe.weights}"\n'
        f'activations = "{recipe.activations}"\nobserver = "{recipe.observer}"\n'
        f"keep_float = [{kept}]\nequalise = {recipe.equalise}\n"
        f"balance = {str(recipe.balance).lower()}\n"
        f"one_sided = {str(recipe.one_sided).lower()}\n"
        f'rounding = "{recipe.rounding}"\n'
        f"bias_correction = {str(recipe.bias_correction).lower()}\n\n"
        f"[calibration]\ncrops = {chosen.crops}\nseed = {chosen.seed}\n",
        encoding="utf-8",
    )
