"""Quality of every evaluated build on every suite, beside fp32 and beside published figures."""

from __future__ import annotations

from collections.abc import Sequence

from cpl_edge.evaluate.suites import suite_names
from cpl_edge.report.charts.bars import Bar, bars
from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    percent,
    rows,
    text,
)
from cpl_edge.report.formats import Evaluation, Summary, model_name
from cpl_edge.report.results import Results


def quality(results: Results) -> Section:
    """A chart and a table for each suite."""
    blocks: list[Block] = [
        Paragraph(
            "PSNR in dB before and after restoring, over RGB unless a suite says otherwise; means "
            "over the images of a suite. The worst image is the one that gained least. Right "
            "selection is the share of images whose degradation the network named by itself."
        )
    ]
    evaluations = newest(results)
    for suite in dict.fromkeys(e.suite.name for e in evaluations):
        of_suite = [e for e in evaluations if e.suite.name == suite]
        if len(of_suite[0].summary) > 1 and (chart := _chart(of_suite[0])):
            blocks.append(chart)
        blocks.append(_table(of_suite))
        if published := _published(of_suite):
            blocks.append(published)
    left = [name for name in suite_names() if name not in {e.suite.name for e in evaluations}]
    if left:
        blocks.append(Paragraph(f"Suites that were not measured: {', '.join(left)}."))
    blocks.append(
        Paragraph("Against the teacher: not measured; no committed result evaluates one.")
    )
    blocks.append(Commands((*(command(e) for e in evaluations), *map(_would, left))))
    return Section("quality", "Quality", tuple(blocks))


def _would(suite: str) -> str:
    data = "" if suite == "bundled" else " --data FOLDER"
    return (
        f"python -m cpl_edge.evaluate --suite {suite} --model s{data} "
        f"--json benchmarks/results/s-litert-fp32-{suite}.json"
    )


def newest(results: Results) -> list[Evaluation]:
    """The newest evaluation of each build, suite and way of routing; fp32 first."""
    found: dict[tuple[str, ...], Evaluation] = {}
    for item in results.evaluations:
        e = item.value
        key = (e.suite.name, model_name(e.model), e.degradation, str(e.limit), str(e.passes))
        if key not in found or (e.date or "") >= (found[key].date or ""):
            found[key] = e
    return sorted(found.values(), key=lambda e: (e.suite.name, not _plain(e), model_name(e.model)))


def command(e: Evaluation) -> str:
    """The line that measures this again."""
    shipped = e.model.file == f"{e.model.student}.tflite"
    model = e.model.student if shipped else f"build/{model_name(e.model)}"
    words = ["python -m cpl_edge.evaluate", f"--suite {e.suite.name}", f"--model {model}"]
    if e.suite.name != "bundled":
        words.append("--data FOLDER")
    if e.degradation != "auto":
        words.append(f"--degradation {e.degradation}")
    if e.limit:
        words.append(f"--limit {e.limit}")
    if e.passes > 1:
        words.append(f"--passes {e.passes}")
    return " ".join(words)


def _plain(e: Evaluation) -> bool:
    """Whether this is the fp32 build, routing by itself on all images, once."""
    alone = e.degradation == "auto" and e.passes == 1
    return e.model.precision == "fp32" and alone and not e.limit


def _chart(e: Evaluation) -> Chart | None:
    items = []
    for s in e.summary:
        if s.psnr_before is None or s.psnr_after is None or s.gain is None:
            continue
        parts = {"before": min(s.psnr_before, s.psnr_after), "gained": max(0.0, s.gain)}
        worse = ", WORSE" if s.gain < 0 else ""
        items.append(Bar(s.label, parts, f"{s.psnr_after:.2f} dB ({s.gain:+.2f}{worse})"))
    if not items:
        return None
    about = "; ".join(f"{item.name} {item.shown}" for item in items)
    return Chart(
        f"{e.suite.name}: PSNR after restoring",
        bars(items),
        f"{model_name(e.model)}, mean of each degradation: {about}.",
    )


def _table(evaluations: Sequence[Evaluation]) -> Table:
    perceptual = any(s.lpips_after is not None for e in evaluations for s in e.summary)
    heads = columns(
        "build",
        "degraded by",
        "images #",
        "before #",
        "after #",
        "gain #",
        "SSIM before #",
        "SSIM after #",
        *["LPIPS before #", "LPIPS after #"] * perceptual,
        "worst image",
        "its gain #",
        "right selection #",
        "drop from fp32 #",
    )
    cells = []
    for e in evaluations:
        for s in e.summary:
            cells.append(
                (
                    _name(e),
                    text(s.label),
                    number(s.images, 0, "note" if e.limit else ""),
                    number(s.psnr_before) if s.psnr_before is not None else _NOTHING_WRONG,
                    number(s.psnr_after),
                    _gain(s, s.gain),
                    number(s.ssim_before, 3),
                    number(s.ssim_after, 3),
                    *[number(s.lpips_before, 3), number(s.lpips_after, 3)] * perceptual,
                    text(s.worst_image or None),
                    _gain(s, s.worst_gain),
                    missing("not judged") if s.routed is None else percent(s.routed),
                    _drop(e, s, evaluations),
                )
            )
    first = evaluations[0].suite
    notes = [note for e in evaluations for note in e.notes]
    if first.channels == "y":
        notes.append(f"Measured over luma, without a border of {first.border} pixels.")
    if any(e.limit for e in evaluations):
        notes.append("Quick evaluations, over the first images only, have theirs in italics.")
    return Table(f"{first.name}: {first.about}", heads, rows(cells), " ".join(dict.fromkeys(notes)))


_NOTHING_WRONG = Cell("nothing wrong", None, "missing")


def _gain(s: Summary, value: float | None) -> Cell:
    if value is None and s.psnr_before is None:
        return missing("none to gain")
    return number(value, mark="bad" if value is not None and value < 0 else "", sign=True)


def _name(e: Evaluation) -> Cell:
    name = model_name(e.model)
    if e.degradation != "auto":
        name += f", told: {e.degradation}"
    if e.passes > 1:
        name += f", up to {e.passes} passes"
    if e.limit:
        name += f", quick: first {e.limit}"
    return text(name)


def _drop(e: Evaluation, s: Summary, evaluations: Sequence[Evaluation]) -> Cell:
    """Decibels below the fp32 build of the same weights, routed alike, on the same images."""
    if e.model.precision == "fp32" and e.model.routing == "auto":
        return Cell("is fp32", None, "missing")
    for other in evaluations:
        same = (e.model.digest, e.degradation, e.limit, e.passes) == (
            other.model.digest,
            other.degradation,
            other.limit,
            other.passes,
        )
        if not (same and other.model.precision == "fp32" and other.model.routing == "auto"):
            continue
        for reference in other.summary:
            if reference.label == s.label and reference.psnr_after and s.psnr_after:
                return number(reference.psnr_after - s.psnr_after, 3, sign=True)
    return missing()


def _published(evaluations: Sequence[Evaluation]) -> Table | None:
    e = evaluations[0]
    if not e.suite.published:
        return None
    labels = [s.label for s in e.summary]
    averages = any(paper.average is not None for paper in e.suite.published)
    cells = []
    for ours in evaluations:
        told = ours.degradation != "auto" or ours.limit or ours.passes > 1
        if told or [s.label for s in ours.summary] != labels:
            continue
        after = [s.psnr_after for s in ours.summary if s.psnr_after is not None]
        # An average over fewer images or degradations than the papers' would not be one.
        whole = len(after) == len(labels) and not ours.notes
        average = number(sum(after) / len(after)) if whole else missing()
        figures = [number(s.psnr_after) for s in ours.summary]
        cells.append((_name(ours), *figures, *[average] * averages))
    for paper in e.suite.published:
        figures = [
            number(paper.psnr[label]) if label in paper.psnr else missing("not published")
            for label in labels
        ]
        average = missing("not published") if paper.average is None else number(paper.average)
        cells.append((text(paper.method), *figures, *[average] * averages))
    return Table(
        f"{e.suite.name}: beside published figures, PSNR in dB",
        columns("method", *(f"{label} #" for label in labels), *["average #"] * averages),
        rows(cells),
        e.suite.remark or "Networks of the papers were trained on other and more images.",
    )
