"""Run a suite through a model file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cpl_edge.cli import track
from cpl_edge.errors import UserError
from cpl_edge.evaluate.perceptual import Lpips
from cpl_edge.evaluate.rows import Row, Summary, measure, summarise
from cpl_edge.evaluate.samples import available, find_samples
from cpl_edge.evaluate.suites import Suite, load_suite
from cpl_edge.restore.passes import in_passes
from cpl_edge.restore.restorer import AUTO, Restorer
from cpl_edge.runtimes.info import ModelInfo
from cpl_edge.runtimes.protocol import find_model, open_runtime

ORACLE = "oracle"


@dataclass(frozen=True)
class Evaluation:
    """One suite through one model.

    Attributes:
        suite: what was measured.
        model: the model file.
        info: what the file says of itself.
        degradation: ``"auto"``, ``"oracle"`` or the degradation that the model was always told.
        threads: CPU threads.
        limit: images a degradation, as asked for on top of the suite's own; 0 for all.
        rows: images, degradation by degradation.
        summaries: degradations.
        notes: where the suite had to be changed for the images at hand, a line each.
        passes: how often an image was restored at most.
        lpips: what LPIPS was measured with (:class:`cpl_edge.evaluate.perceptual.Lpips`); None
            where it was not.
    """

    suite: Suite
    model: Path
    info: ModelInfo
    degradation: str
    threads: int
    limit: int
    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]
    notes: tuple[str, ...] = ()
    passes: int = 1
    lpips: dict[str, str] | None = None


def evaluate(
    suite: str,
    model: str,
    data: Path | None = None,
    limit: int = 0,
    degradation: str = AUTO,
    threads: int = 1,
    passes: int = 1,
    lpips: bool = False,
    lpips_weights: Path | None = None,
) -> Evaluation:
    """Run a suite, with a progress bar.

    Everything that can be wrong is looked for before the first image is restored.

    Args:
        suite: name of a shipped suite, or a TOML file.
        model: model file, build folder, or name of a shipped student.
        data: folder with the suite's images; None asks the variable ``CPL_EDGE_DATA``.
        limit: only the first images by name; 0 leaves it to the suite.
        degradation: ``"auto"``, ``"oracle"`` or what the model is always told.
        threads: CPU threads.
        passes: restore each image so often at most (:mod:`cpl_edge.restore.passes`).
        lpips: measure LPIPS too.
        lpips_weights: its AlexNet; None downloads it once.

    Raises:
        UserError: a mistake in any of these, in one line.
        MissingExtra: a package is missing, with the line that installs it.
    """
    chosen, notes = available(load_suite(suite), data)
    samples = find_samples(chosen, data, limit)
    path = find_model(model)
    distance = Lpips(lpips_weights, threads) if lpips else None
    with closing(open_runtime(path, threads)) as runtime:
        info = runtime.info
        known = info.degradations if info.pinned is None else (info.pinned,)
        tell = [told(degradation, s.degradation.degradation, known) for s in samples]
        restorer = in_passes(Restorer(runtime), passes)
        for choice in tell:
            restorer.check(choice)
        rows = [
            measure(sample, chosen, restorer, choice, distance)
            for sample, choice in track([*zip(samples, tell, strict=True)], chosen.name)
        ]
    routed = info.degradations if degradation == AUTO and info.pinned is None else ()
    summaries = summarise(rows, routed)
    return Evaluation(
        chosen,
        path,
        info,
        degradation,
        threads,
        limit,
        tuple(rows),
        tuple(summaries),
        notes,
        passes,
        distance.about if distance else None,
    )


def told(choice: str, applied: str, known: Sequence[str]) -> str:
    """What a model is told about an image.

    Args:
        choice: ``"auto"``, ``"oracle"`` or a degradation.
        applied: the degradation of the image.
        known: what the model knows.

    Returns:
        A degradation, or ``"auto"`` where the model selects.

    Raises:
        UserError: the model does not know it.
    """
    if choice == AUTO:
        return AUTO
    degradation = applied if choice == ORACLE else choice
    if degradation not in known:
        raise UserError(
            f"the model knows no degradation {degradation!r}: use --degradation {AUTO} or one of "
            f"{', '.join(known)}"
        )
    return degradation
