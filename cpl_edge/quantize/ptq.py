"""Post-training quantisation without a target: a checkpoint with its ranges, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from cpl_edge.cli import write_json
from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_shared, load_student, student_path
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.checkpoint import Quantized, digest, read_quantized, save_quantized
from cpl_edge.quantize.figures import Judge, Losses, losses_table
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import QuantizeRecipe
from cpl_edge.quantize.sensitivity import JUDGED
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.shipped import shipped, shipped_names

FILE = "student.safetensors"


def quantize(
    name: str, recipe: QuantizeRecipe, size: tuple[int, int], data: Path | None, out: Path
) -> dict[str, Any]:
    """Calibrate a student and write it with its ranges and its card.

    Args:
        name: of the student.
        recipe: with fixed ranges.
        size: of the crops.
        data: photos, or None for those that come with scikit-image.
        out: folder of ``student.safetensors`` and ``student.json``.

    Returns:
        The losses on the photos that do not calibrate, by degradation.

    Raises:
        UserError: no such student, nothing to calibrate on, or a recipe without fixed ranges.
    """
    if not recipe.calibrates:
        raise UserError(
            f"{recipe.target} {recipe.precision} has no ranges to store: "
            f"export it with --precision {recipe.precision}"
        )
    if read_quantized(name) is not None:
        raise UserError(f"{name} is quantised already: give the student that it was made from")
    student = load_shared(name)
    # `one_sided` is a rewrite in other modules: an export repeats it on the stored weights.
    folded, how = prepare(student, recipe, size, data)
    stored = folded
    if recipe.one_sided:
        stored, _ = prepare(student, recipe.model_copy(update={"one_sided": False}), size, data)
    assert how.calibration is not None
    quantized = Quantized(
        made="ptq",
        source=digest(student_path(name)),
        recipe=recipe,
        ranges=how.ranges,
        calibration=how.calibration.to_card(),
    )
    save_quantized(stored, quantized, out / FILE)
    losses = measure(str(out / FILE), name, size, data)
    return _show(out, losses)


def measure(
    name: str, against: str | None, size: tuple[int, int], data: Path | None
) -> dict[str, Losses]:
    """What a quantised checkpoint loses, in the integers of its file.

    Args:
        name: quantised checkpoint.
        against: the fp32 student; None for the shipped one that it was made from.
        size: of the crops.
        data: photos, every second of which judges; None for those that come with scikit-image.

    Raises:
        UserError: no quantised checkpoint, or the student that it was made from is not known.
    """
    stored = read_quantized(name)
    if stored is None:
        raise UserError(f"{name} is not quantised: make a checkpoint with -o, or train one")
    student = load_student(against or source_of(stored))
    folded, how = prepare(load_student(name), stored.recipe, size, stored=stored)
    known = student.config.degradations
    judge = Judge(student, make_calibration(JUDGED, known, size, data, judging=True))
    bits = 16 if stored.recipe.activations == "int16" else 8
    simulation = Simulation(folded, bits, frozenset(how.kept), how.ranges)
    return judge.losses(lambda x, w: simulation.run(x, w, integers=bits == 8))


def source_of(stored: Quantized) -> str:
    """Name of the shipped student that a checkpoint was made from.

    Raises:
        UserError: none of them is it.
    """
    for name in shipped_names("weights", ".safetensors"):
        if digest(shipped("weights", f"{name}.safetensors")) == stored.source:
            return name
    raise UserError("it was made from no shipped student: name that student with --against")


def show(losses: dict[str, Losses]) -> dict[str, Any]:
    """Print losses; returns them as plain values."""
    Console().print(losses_table([("rounded", losses)]))
    return {degradation: found.to_json() for degradation, found in losses.items()}


def _show(out: Path, losses: dict[str, Losses]) -> dict[str, Any]:
    plain = show(losses)
    write_json(out / "losses.json", plain)
    print(f"wrote {out / FILE}")
    return plain
