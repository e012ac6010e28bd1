"""A student with the ranges that it is rounded with, as one ``.safetensors`` file and a card.

It is a student's file like any other, with one more entry in its metadata; ``load_student`` reads
it, and ``cpl_edge.export`` takes its ranges instead of calibrating.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from cpl_edge.errors import UserError
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import save_student, student_path
from cpl_edge.quantize.ranges import Ranges
from cpl_edge.quantize.recipe import QuantizeRecipe
from cpl_edge.recipe import Table

KEY = "cpl_edge_quantized"


class Quantized(Table):
    """What a quantised checkpoint says beside its weights.

    Attributes:
        format: of this table.
        made: ``ptq`` (ranges calibrated) or ``qat`` (weights and ranges trained).
        source: sha256 of the file of the fp32 student that it was made from.
        recipe: what the ranges are for; its ``keep_float`` goes with them.
        ranges: point of a :class:`~cpl_edge.quantize.simulation.Simulation` -> smallest and
            largest value.
        calibration: photos, count and digest of the crops that the ranges started from.
    """

    format: Literal[1] = 1
    made: Literal["ptq", "qat"]
    source: str
    recipe: QuantizeRecipe
    ranges: dict[str, tuple[float, float]]
    calibration: dict[str, Any]

    @model_validator(mode="after")
    def _hold_zero(self) -> Quantized:
        if wrong := [p for p, (low, high) in self.ranges.items() if not low <= 0 <= high]:
            raise ValueError(f"the range of {wrong[0]} does not hold 0")
        return self

    def ranges_of(self, points: list[str]) -> Ranges:
        """Ranges for a student's points.

        A pinned student has one point where a prompted one has four: behind the ReLU of a block's
        first convolution, which is ``prompt:sum`` of the other.

        Raises:
            UserError: a point has no range.
        """
        pinned = not any(":" in point for point in points)
        found: Ranges = {}
        for point in points:
            block, _, last = point.rpartition(".")
            name = f"{block}.prompt:sum" if pinned and last == "expand" else point
            name = name if name in self.ranges else point
            if name not in self.ranges:
                raise UserError(
                    f"the quantised checkpoint has no range for {point}: "
                    "it was made from a student of another shape, or a pinned one"
                )
            found[point] = self.ranges[name]
        return found


def save_quantized(student: Student, quantized: Quantized, path: Path) -> None:
    """Write a quantised checkpoint, and its card beside it as ``.json``.

    Raises:
        UserError: the folder cannot be made.
    """
    text = quantized.model_dump_json()
    try:
        save_student(student, path, {KEY: text})
        card = json.loads(text) | {"digest": digest(path), "float": ["router", *_kept(quantized)]}
        path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another -o") from None


def read_quantized(name_or_path: str | Path) -> Quantized | None:
    """What a student's file says about its quantisation; None if it is a plain student's.

    Raises:
        UserError: no such student, or the entry is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = student_path(name_or_path)
    try:
        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a student's weights: {reason}") from None
    if text is None:
        return None
    try:
        return Quantized.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"{path} holds a damaged {KEY!r}: {reason}") from None


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _kept(quantized: Quantized) -> tuple[str, ...]:
    return quantized.recipe.keep_float
