"""The figures that somebody who must decide looks for first."""

from __future__ import annotations

from collections import Counter

from cpl_edge.report.document import NOT_MEASURED, Block, Figures, Paragraph, Section
from cpl_edge.report.formats import model_name
from cpl_edge.report.results import Results
from cpl_edge.report.sections.builds import newest as newest_builds
from cpl_edge.report.sections.latency import chosen_run, latency_of
from cpl_edge.report.sections.photos import photo_rows
from cpl_edge.report.sections.profiles import elsewhere
from cpl_edge.report.sections.quality import newest as newest_evaluations


def glance(results: Results) -> Section:
    """Size, quality, speed, memory, verdicts, and where nothing ran."""
    blocks: list[Block] = [
        Figures((*_students(results), *_quality(results), *_speed(results), _builds(results)))
    ]
    devices = elsewhere(results)
    if devices:
        blocks.append(
            Paragraph(
                f"Profiles were imported from {devices}. Every other time and every peak of "
                "memory is that of the machine named below, which is no phone."
            )
        )
    else:
        blocks.append(
            Paragraph(
                "Nothing here ran on a phone: every time and every peak of memory is that of the "
                "machine named below."
            )
        )
    return Section("glance", "At a glance", tuple(blocks))


def _students(results: Results) -> list[tuple[str, str, str]]:
    return [
        (
            f"student {card.student}",
            f"{card.parameters:,} parameters",
            f"{card.macs_256x256 / 1e9:.2f} GMAC for 256x256 pixels",
        )
        for card in (found.value for found in results.students)
    ]


def _quality(results: Results) -> list[tuple[str, str, str]]:
    """Noise on the published set, and the worst image of all that was measured."""
    plain = [
        e
        for e in newest_evaluations(results)
        if e.model.precision == "fp32" and not e.limit and e.passes == 1
    ]
    found = [(e, s) for e in plain for s in e.summary if s.gain is not None]
    if not found:
        return [("quality", NOT_MEASURED, "python -m cpl_edge.evaluate --suite bundled")]
    first = next(((e, s) for e, s in found if s.label == "noise 25"), found[0])
    worst = min(found, key=lambda pair: pair[1].worst_gain or 0)
    e, s = first
    figures = [
        (
            f"{e.suite.name}, {s.label}",
            f"{s.gain:+.2f} dB",
            f"{s.psnr_before:.2f} to {s.psnr_after:.2f} dB, {model_name(e.model)}",
        )
    ]
    e, s = worst
    if s.worst_gain is not None:
        about = f"{s.worst_image}, {e.suite.name}, {s.label}"
        figures.append(("worst image of all", f"{s.worst_gain:+.2f} dB", about))
    return figures


def _speed(results: Results) -> list[tuple[str, str, str]]:
    figures = []
    run = chosen_run(results)
    quick = " (quick run)" if run and run.mode == "quick" else ""
    # A pinned build answers faster, as a told one better, but to one degradation only.
    able = [c for c in newest_builds(results) if not c.refused and c.recipe.degradation is None]
    timed = [(found, c) for c in able if (found := latency_of(c.name, c.digest, results))]
    if timed:
        (ms, source), card = min(timed, key=lambda pair: pair[0][0])
        figures.append(
            (
                "fastest build for all degradations",
                f"{ms:.1f} ms",
                f"{card.name}, 256x256, one thread, from the {source}{quick}",
            )
        )
    else:
        figures.append(("fastest build", NOT_MEASURED, "python -m cpl_edge.export --target all"))
    photos = photo_rows(results)
    if photos:
        row = min(photos, key=lambda row: abs(row.megapixels - 12))
        figures.append(
            (
                f"photo of {row.megapixels:.0f} megapixels",
                f"{row.total_seconds:.1f} s",
                f"{row.beyond_mb:.0f} MB beyond the runtime, {row.threads} threads, {row.model}",
            )
        )
    else:
        words = "python -m cpl_edge.benchmark --photo 4000x3000"
        figures.append(("photo of 12 megapixels", NOT_MEASURED, words))
    return figures


def _builds(results: Results) -> tuple[str, str, str]:
    cards = newest_builds(results)
    refused = Counter(card.recipe.precision for card in cards if card.refused)
    words = [f"{count} of {precision}" for precision, count in refused.most_common()]
    about = f"refused: {', '.join(words)}" if words else "none refused"
    return ("builds", f"{len(cards) - refused.total()} passed, {refused.total()} refused", about)
