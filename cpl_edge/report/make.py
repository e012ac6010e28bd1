"""From a folder of results to one page.

1. Read every result; what cannot be used is a line among the problems.
2. Restore a few bundled photos for the crops.
3. Turn the results into sections of blocks.
4. Write the blocks as HTML and as Markdown, each file complete or not at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cpl_edge import __version__
from cpl_edge.errors import MissingExtra, UserError
from cpl_edge.report.builds_table import builds_document
from cpl_edge.report.document import Crop, Document
from cpl_edge.report.html import to_html
from cpl_edge.report.markdown import to_markdown
from cpl_edge.report.results import Results, read_results
from cpl_edge.report.sections.builds import builds
from cpl_edge.report.sections.glance import glance
from cpl_edge.report.sections.history import history, regressions
from cpl_edge.report.sections.latency import latency
from cpl_edge.report.sections.origins import origins
from cpl_edge.report.sections.pareto import pareto
from cpl_edge.report.sections.photos import photos
from cpl_edge.report.sections.pictures import pictures
from cpl_edge.report.sections.profiles import profiles
from cpl_edge.report.sections.prompts import prompts
from cpl_edge.report.sections.quality import quality
from cpl_edge.report.sections.search import search
from cpl_edge.report.sections.students import students

HTML, MARKDOWN = "report.html", "report.md"


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        html: the page.
        markdown: its twin.
        files: how many results were read.
        problems: one line for each file that could not be used.
        regressions: one line for each measurement that is worse than the one before.
    """

    html: Path
    markdown: Path
    files: int
    problems: tuple[str, ...]
    regressions: tuple[str, ...]


def make_report(
    results: Path, weights: Path, out: Path, model: str | None = "s", threads: int = 2
) -> Made:
    """Make both files.

    Args:
        results: folder of JSON results.
        weights: folder of the students' cards.
        out: folder of the report; files of an earlier run are replaced.
        model: restores the crops: model file, build folder or shipped student's name; None makes
            no crops.
        threads: CPU threads for the crops.

    Raises:
        UserError: no folder of results, or ``out`` cannot be written.
        MissingExtra: jinja2 is not installed.
    """
    found = read_results(results, weights)
    crops, reason = _crops(model, threads)
    document = assemble(found, crops, reason)
    page, twin = to_html(document), to_markdown(document)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / HTML, page)
        _write(out / MARKDOWN, twin)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    return Made(
        out / HTML,
        out / MARKDOWN,
        len(found.files),
        tuple(found.problems),
        tuple(regressions(found)),
    )


def make_builds(results: Path, weights: Path, out: Path) -> list[str]:
    """Write the table of builds.

    Args:
        results: folder of JSON results.
        weights: folder of the students' cards.
        out: Markdown file, replaced if it exists.

    Returns:
        One line for each file that could not be used.

    Raises:
        UserError: no folder of results, or ``out`` cannot be written.
    """
    found = read_results(results, weights)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(out, to_markdown(builds_document(found)))
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    return found.problems


def assemble(found: Results, crops: tuple[Crop, ...] = (), reason: str = "") -> Document:
    """All sections in the order in which a reader asks.

    Args:
        found: what was read.
        crops: before and after.
        reason: why there are no crops.
    """
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lead = (
        f"cpl_edge {__version__}, made on {day} from {len(found.files)} files of results. Every "
        "figure comes from one of them; what nobody measured says so."
    )
    sections = (
        glance(found),
        students(found),
        builds(found),
        pictures(crops, reason or "not asked for"),
        quality(found),
        pareto(found),
        search(found),
        latency(found),
        photos(found),
        profiles(found),
        prompts(found),
        history(found),
        origins(found),
    )
    return Document("What cpl_edge is worth", lead, sections)


def _crops(model: str | None, threads: int) -> tuple[tuple[Crop, ...], str]:
    if model is None:
        return (), "not asked for"
    from cpl_edge.report.crops import make_crops

    try:
        return make_crops(model, threads), ""
    except MissingExtra as error:  # a report of figures needs neither torch nor photos
        return (), str(error)


def _write(path: Path, content: str) -> None:
    """Replace a file at once, so that nobody ever sees half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
