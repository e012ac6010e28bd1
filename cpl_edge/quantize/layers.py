"""A view into the layers: signal to rounding noise of every activation, on the worst crop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from cpl_edge.models.zoo import load_shared
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.checkpoint import read_quantized
from cpl_edge.quantize.figures import Judge
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import QuantizeRecipe
from cpl_edge.quantize.rounding import round_activations
from cpl_edge.quantize.sensitivity import JUDGED
from cpl_edge.quantize.simulation import Simulation, sqnr


@dataclass(frozen=True)
class Layer:
    """One activation, in dB.

    Attributes:
        point: its name.
        own: signal to noise when it alone is rounded.
        arrived: signal to noise of what reaches it, before it is rounded itself.
        low: where its range begins.
        high: where it ends.
        clipped: share of its values beyond the range.
    """

    point: str
    own: float
    arrived: float
    low: float
    high: float
    clipped: float


@dataclass(frozen=True)
class View:
    """The crop that loses most, and its layers in the order of execution."""

    degradation: str
    drop: float
    layers: list[Layer]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def look(name: str, recipe: QuantizeRecipe, size: tuple[int, int], data: Path | None) -> View:
    """Find the worst crop and compare its activations, in float and rounded.

    Args:
        name: of the student.
        recipe: to round by.
        size: of the crops.
        data: photos, or None for those that come with scikit-image.

    Raises:
        UserError: no such student, or nothing to calibrate on.
    """
    student = load_shared(name)
    folded, how = prepare(student, recipe, size, data, stored=read_quantized(name))
    judged = make_calibration(JUDGED, student.config.degradations, size, data, judging=True)
    judge = Judge(student, judged)
    bits = 16 if recipe.activations == "int16" else 8
    seen: dict[str, Tensor] = {}
    simulation = Simulation(folded, bits, frozenset(how.kept), how.ranges)
    losses = judge.losses(simulation.run)
    degradation = max(losses, key=lambda key: losses[key].worst)
    nth = losses[degradation].each.index(losses[degradation].worst)
    index = [i for i, kind in enumerate(judged.degradations) if kind == degradation][nth]
    simulation.observe = lambda point, value, needed: seen.update({point: value})
    x_BCHW, w_BSN = judged.crops[index], judge.routed[index]
    simulation.run(x_BCHW, w_BSN, rounding=False)
    exact = dict(seen)
    simulation.run(x_BCHW, w_BSN)
    layers = []
    for point, value in exact.items():
        low, high = how.ranges[point]
        own = sqnr([value], [round_activations(value, low, high, bits)])
        clipped = float(((value < low) | (value > high)).float().mean())
        layers.append(Layer(point, own, sqnr([value], [seen[point]]), low, high, clipped))
    return View(degradation, losses[degradation].worst, layers)


def show(view: View) -> None:
    """Print the layers."""
    table = Table("activation", "own rounding, dB", "arrives with, dB", "range", "clipped")
    for layer in view.layers:
        arrived = "exact" if layer.arrived > 120 else f"{layer.arrived:.1f}"
        bounds = f"{layer.low:.3g} ... {layer.high:.3g}"
        row = (layer.point, f"{layer.own:.1f}", arrived, bounds, f"{layer.clipped:.2%}")
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"worst crop: {view.degradation}, {view.drop:.3f} dB lost")
