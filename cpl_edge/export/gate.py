"""One gate: a named check of a build, with a figure, a limit and a reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from cpl_edge.export.crops import Crop, crops_digest
from cpl_edge.export.measurement import Measurement, Row, measure
from cpl_edge.export.program import Program
from cpl_edge.export.recipe import ExportRecipe, Limits
from cpl_edge.export.targets import Inspection, Target
from cpl_edge.models.student import Student


@dataclass(frozen=True)
class GateResult:
    """Outcome of one gate.

    Attributes:
        name: of the gate.
        figure: what was measured, or None if it was not run.
        limit: what the figure was held against, or None if it is only reported.
        passed: None if the gate was not run.
        why: likely cause if it failed, the reason if it was not run, else a remark.
    """

    name: str
    figure: float | str | None
    limit: float | str | None
    passed: bool | None
    why: str = ""


@dataclass
class Build:
    """A converted file and all that its gates need; what is measured is measured once.

    Attributes:
        recipe: what it was made by.
        target: of the recipe.
        student: the fp32 student, not pinned.
        program: what was converted.
        path: the model file.
        crops: degraded crops of the file's size.
        pinned_N: prompt weights that were folded into the file, if any.
    """

    recipe: ExportRecipe
    target: Target
    student: Student
    program: Program
    path: Path
    crops: Sequence[Crop]
    pinned_N: Tensor | None = None

    @cached_property
    def measurement(self) -> Measurement:
        """The file and the student on every crop; only where the target can run here."""
        return measure(self.path, self.student, self.crops, self.pinned_N)

    @cached_property
    def inspection(self) -> Inspection:
        """Operators of the file."""
        return self.target.inspect(self.path)

    @cached_property
    def crops_digest(self) -> str:
        """sha256 of the crops."""
        return crops_digest(list(self.crops))

    @property
    def limits(self) -> Limits:
        """Limits of the recipe for its precision."""
        return self.recipe.gate_limits

    @property
    def rows(self) -> list[Row]:
        """Measured crops."""
        return self.measurement.rows


Gate = Callable[[Build], GateResult]


def at_most(name: str, figure: float, limit: float, why: str, remark: str) -> GateResult:
    """A gate whose figure must not exceed its limit; ``remark`` if it passed, else ``why``."""
    if not math.isfinite(figure):
        return GateResult(name, "not finite", limit, False, why)  # JSON has no infinity
    passed = figure <= limit
    return GateResult(name, figure, limit, passed, remark if passed else why)


def at_least(name: str, figure: float, limit: float, why: str, remark: str) -> GateResult:
    """A gate whose figure must reach its limit; ``remark`` if it passed, else ``why``."""
    passed = figure >= limit
    return GateResult(name, figure, limit, passed, remark if passed else why)
