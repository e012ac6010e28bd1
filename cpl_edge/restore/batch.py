"""Restoring files one after the other, going on after a bad one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpl_edge.data.images import read_photo, write_photo
from cpl_edge.errors import UserError
from cpl_edge.restore.files import Job, Left, Plan
from cpl_edge.restore.outcome import Seconds
from cpl_edge.restore.passes import PassesRestorer
from cpl_edge.restore.restorer import Progress, Restorer


@dataclass(frozen=True)
class Done:
    """One photo that was restored and written.

    Attributes:
        source: the photo.
        target: the result.
        width: in pixels.
        height: in pixels.
        degradation: what was selected, by the first pass; None where the file does not tell.
        then: what later passes selected.
        probabilities: the router's certainty by degradation; empty where nothing was routed.
        weights: prompt weights of each site; None where the file decides inside.
        tiles: how many there were.
        seconds: wall time of restoring; reading and writing not counted.
        notes: what was not read or written as it stood, for the user.
    """

    source: Path
    target: Path
    width: int
    height: int
    degradation: str | None
    then: tuple[str, ...]
    probabilities: dict[str, float]
    weights: list[list[float]] | None
    tiles: int
    seconds: Seconds
    notes: tuple[str, ...]

    @property
    def ms_per_megapixel(self) -> float:
        """Milliseconds of restoring per million pixels."""
        return self.seconds.total * 1e9 / (self.width * self.height)

    def __str__(self) -> str:
        selected = self.degradation or "routed inside the model"
        if self.degradation in self.probabilities:
            selected += f" ({self.probabilities[self.degradation]:.0%})"
        selected = ", then ".join([selected, *self.then])
        lines = [
            f"{self.source} -> {self.target}: {selected}, {self.width}x{self.height}, "
            f"{self.seconds.total:.2f} s, {self.ms_per_megapixel:.0f} ms/MP"
        ]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self) | {"source": str(self.source), "target": str(self.target)}
        return values | {"ms_per_megapixel": self.ms_per_megapixel}


def restore_files(
    restorer: Restorer | PassesRestorer,
    plan: Plan,
    *,
    degradation: str = "auto",
    overwrite: bool = False,
    max_megapixels: float = 200.0,
    progress: Callable[[Path], Progress] | None = None,
) -> Iterator[Done | Left]:
    """Restore the photos of a plan.

    Args:
        restorer: with an open model file.
        plan: what to restore.
        degradation: ``"auto"`` or a degradation's name.
        overwrite: replace existing results.
        max_megapixels: larger photos are refused.
        progress: called with each photo, gives what is told about its tiles.

    Yields:
        One outcome for each photo as it comes; ``Left`` for one that failed.

    Raises:
        UserError: a degradation that the file does not know; or, where the plan is one named
            photo, whatever is wrong with it.
    """
    restorer.check(degradation)
    for job in plan.jobs:
        told = None if progress is None else progress(job.source)
        try:
            yield _restore_file(restorer, job, degradation, overwrite, max_megapixels, told)
        except (UserError, MemoryError) as error:
            reason = str(error) or "there is not enough memory for it"
            if not plan.many:
                raise UserError(reason) from error
            yield Left(job.source, reason.removeprefix(f"{job.source}: "))


def _restore_file(
    restorer: Restorer | PassesRestorer,
    job: Job,
    degradation: str,
    overwrite: bool,
    max_megapixels: float,
    progress: Progress | None,
) -> Done:
    photo = read_photo(job.source, max_megapixels)
    restored = restorer.restore(photo.image_HWC, degradation, progress)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    notes = write_photo(job.target, restored.image_HWC, like=photo, overwrite=overwrite)
    height, width = photo.image_HWC.shape[:2]
    weights = restored.weights_SN
    return Done(
        source=job.source,
        target=job.target,
        width=width,
        height=height,
        degradation=restored.degradation,
        then=restored.then,
        probabilities=restored.probabilities,
        weights=None if weights is None else weights.tolist(),
        tiles=restored.tiles,
        seconds=restored.seconds,
        notes=photo.notes + notes,
    )
