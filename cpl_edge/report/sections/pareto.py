"""Quality against latency: which builds nothing beats in both."""

from __future__ import annotations

from collections.abc import Sequence

from cpl_edge.report.charts.scatter import Point, front, scatter
from cpl_edge.report.document import (
    Block,
    Chart,
    Commands,
    Paragraph,
    Section,
    Table,
    columns,
    number,
    rows,
    text,
)
from cpl_edge.report.formats import Evaluation, model_name
from cpl_edge.report.results import Results
from cpl_edge.report.sections.builds import newest as newest_builds
from cpl_edge.report.sections.latency import latency_of
from cpl_edge.report.sections.quality import newest as newest_evaluations

_ALL = "synthetic"  # all degradations on more photos than "bundled": of equally many builds
_X = "forward of 256x256, one thread, ms (median)"
_COMMANDS = (
    "python -m cpl_edge.export --target all",
    "python -m cpl_edge.evaluate --suite bundled --model build/NAME "
    "--json benchmarks/results/NAME-bundled.json",
    "python -m cpl_edge.benchmark --suite default",
)


def pareto(results: Results) -> Section:
    """One plot over a suite, for students and builds; one over the crops of the gates."""
    blocks = [*_of_suite(results), *_of_gates(results), Commands(_COMMANDS)]
    return Section("pareto", "Quality against latency", tuple(blocks))


def _of_suite(results: Results) -> list[Block]:
    """The suite on which most builds were evaluated and timed, of several "synthetic"."""
    by_suite: dict[str, list[Point]] = {}
    for e in newest_evaluations(results):
        if point := _point(e, results):
            by_suite.setdefault(e.suite.name, []).append(point)
    suite = max(by_suite, key=lambda name: (len(by_suite[name]), name == _ALL), default=None)
    if suite is None or len(by_suite[suite]) < 2:
        return [
            Paragraph(
                "On a whole suite: not measured for two builds or more, so there is nothing to "
                "weigh against each other yet."
            )
        ]
    y_title = f"PSNR on {suite}, mean of its degradations (dB)"
    return _plot(f"Quality on {suite} against latency", by_suite[suite], y_title)


def _point(e: Evaluation, results: Results) -> Point | None:
    name = model_name(e.model)
    timed = latency_of(name, e.model.digest, results)
    after = [s.psnr_after for s in e.summary if s.psnr_after is not None]
    if timed is None or not after or e.limit or e.passes > 1 or e.degradation != "auto":
        return None
    ms, source = timed
    y = round(sum(after) / len(after), 3)  # less than 0.001 dB makes no build the better
    about = f"{name}: {y:.2f} dB, {ms:.2f} ms ({source})"
    able = e.model.pinned is None
    return Point(ms, y, name, e.model.target, e.model.precision, about, able)


def _of_gates(results: Results) -> list[Block]:
    """What each build loses against its own fp32 student on the crops of its gates."""
    points = []
    for card in newest_builds(results):
        timed = latency_of(card.name, card.digest, results)
        # A told or pinned build is measured on the degradation that it is for.
        drops = [
            figures.drop_mean
            for name, figures in card.quality.items()
            if figures.drop_mean is not None and card.recipe.degradation in (None, name)
        ]
        if timed is None or not drops:
            continue
        ms, source = timed
        y = round(-sum(drops) / len(drops), 3)  # less than 0.001 dB makes no build the better
        name = card.name + (" (refused)" if card.refused else "")
        about = f"{name}: {y:+.3f} dB, {ms:.2f} ms ({source})"
        able = not card.refused and card.recipe.degradation is None
        points.append(Point(ms, y, name, card.recipe.target, card.recipe.precision, about, able))
    if not points:
        return [Paragraph("On the crops of the gates: not measured, no build has left its card.")]
    title = "Loss against the fp32 student, against latency"
    return _plot(title, points, "PSNR above the fp32 student (dB)")


def _plot(title: str, points: Sequence[Point], y_title: str) -> list[Block]:
    best = front(points)
    names = ", ".join(point.name for point in best)
    about = (
        f"{len(points)} builds; up and left is better. Nothing beats in both: {names or 'none'}. "
        "The table below holds every point."
    )
    if not all(point.counts for point in points):
        about += (
            " Hollow: refused, or for one degradation and measured on that alone; these stand on "
            "no front."
        )
    cells = [
        (
            text(p.name),
            text(p.colour),
            text(p.shape),
            number(p.x),
            number(p.y, 3),
            text("yes", "good") if p in best else text("no"),
        )
        for p in sorted(points, key=lambda p: p.x)
    ]
    heads = columns("build", "runtime", "precision", "ms #", f"{y_title} #", "on the front")
    return [
        Chart(title, scatter(points, _X, y_title), about),
        Table(f"{title}: the points", heads, rows(cells)),
    ]
