"""docs/builds.md: student x target x precision, what each is worth and why it was refused.

Nothing is measured here and nothing remembered: every figure comes from the cards that
``cpl_edge.export --json`` and ``--record`` wrote, from latency runs, and from the one table of
what targets support. So the page is made again whenever results change, and equals itself else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpl_edge.quantize.support import PRECISIONS, REMARKS, SUPPORT
from cpl_edge.report.build_times import Time, time_of
from cpl_edge.report.document import (
    Block,
    Cell,
    Commands,
    Document,
    Listing,
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
from cpl_edge.report.formats import BuildCard, Gate
from cpl_edge.report.results import Found, Results

COMMAND = "python -m cpl_edge.report --builds docs/builds.md"

_LEAD = (
    "Made from benchmarks/results by the command below; a test holds it against them. A passed "
    "build is what python -m cpl_edge.export keeps; a refused one missed a gate and is thrown away."
)
_NOTE = (
    "Drop: PSNR lost against the fp32 student, mean / worst crop of the gates, in dB; negative "
    "is a gain. Parity: worst crop against the fp32 student's own output, in dB, or the largest "
    "difference where fp32 is held against fp32. Same prompt: crops on which the build selects "
    "what the student selects. ms: median of the latency run, 1 thread; speed-up: against fp32 of "
    "the same student and target in the same run."
)
_FIRST = ("target", "precision", "routing")


def builds_document(results: Results) -> Document:
    """The page.

    Args:
        results: builds, latency runs and the cards of the weights that ship.
    """
    sections = [Section("how", "How this page is made", (Commands((COMMAND,)),))]
    for student in results.students:
        name = Path(student.file).stem
        cards = _newest([found for found in results.builds if _is_of(found, student.value.digest)])
        sections.append(Section(name, f"Student {name}", tuple(_student(cards, results))))
    sections += [_unsupported(), _origins(results)]
    if left := _left_out(results):
        sections.append(Section("left-out", "Left out", (Paragraph(left[0]), Listing(left[1]))))
    return Document("Builds: student, target, precision", _LEAD, tuple(sections))


def _is_of(found: Found[BuildCard], digest: str) -> bool:
    return found.value.digest == digest


def _key(card: BuildCard) -> tuple[Any, ...]:
    recipe = card.recipe
    return (
        _place(recipe.target, list(SUPPORT)),
        _place(recipe.precision, PRECISIONS),
        _place(recipe.routing, ("auto", "split", "told", "pinned")),
        recipe.degradation or "",
        recipe.size,
    )


def _place(word: str, known: Sequence[str]) -> tuple[int, str]:
    """Order of a word; those of another version come last."""
    return (known.index(word) if word in known else len(known)), word


def _newest(found: Sequence[Found[BuildCard]]) -> list[BuildCard]:
    """The newest card of each build, in the order of the table of support."""
    cards: dict[tuple[Any, ...], BuildCard] = {}
    for card in sorted((each.value for each in found), key=lambda card: card.date or ""):
        cards[_key(card)] = card
    return [cards[key] for key in sorted(cards)]


def _student(cards: list[BuildCard], results: Results) -> list[Block]:
    if not cards:
        return [Paragraph("Not measured: no build of these weights has left its card.")]
    blocks: list[Block] = [_table(cards, [time_of(card, results) for card in cards])]
    reasons = [line for card in cards for line in _reasons(card)]
    if reasons:
        blocks += [Paragraph("Why, in the words of the gates:"), Listing(tuple(reasons))]
    known = {(card.recipe.target, card.recipe.precision) for card in cards}
    rest = [
        f"{target} {precision}"
        for target, precisions in SUPPORT.items()
        for precision, reason in precisions.items()
        if not reason and (target, precision) not in known
    ]
    if rest:
        blocks.append(Paragraph(f"Supported and not measured: {', '.join(rest)}."))
    return blocks


def _table(cards: list[BuildCard], times: list[Time | None]) -> Table:
    shown = list(dict.fromkeys(name for card in cards for name in card.quality))
    heads = columns(
        *_FIRST, "MB #", "ms #", "speed-up #", *(f"{name}: drop, dB #" for name in shown),
        "parity #", "same prompt #", "outcome",
    )  # fmt: skip
    cells = []
    for card, time in zip(cards, times, strict=True):
        recipe = card.recipe
        cells.append(
            (
                text(recipe.target),
                text(recipe.precision),
                text(_routing(card)),
                number(None if card.bytes is None else card.bytes / 1e6),
                number(time.ms if time else None),
                number(time.speed_up if time else None, unit=" x"),
                *(_drop(card, name) for name in shown),
                _parity(card),
                _same_prompt(card),
                _outcome(card),
            )
        )
    return Table("Builds", heads, rows(cells), _NOTE)


def _routing(card: BuildCard) -> str:
    recipe = card.recipe
    size = "" if recipe.size == (256, 256) else "{}x{}".format(*recipe.size)
    return " ".join(filter(None, (recipe.routing, recipe.degradation, size)))


def _drop(card: BuildCard, degradation: str) -> Cell:
    quality = card.quality.get(degradation)
    if quality is None:
        pinned = card.recipe.degradation
        return Cell("-") if pinned not in (None, degradation) else missing()
    mean, worst = (number(value, 2) for value in (quality.drop_mean, quality.drop_worst))
    return Cell(f"{mean.text} / {worst.text}", mean.sort)


def _parity(card: BuildCard) -> Cell:
    figure = _number(card.gate("parity"))
    if figure is None:
        return missing()
    # Where both are fp32 the gate's figure is a difference, else it is in dB.
    return Cell(f"{figure:.1e}" if card.recipe.precision == "fp32" else f"{figure:.1f} dB", figure)


def _same_prompt(card: BuildCard) -> Cell:
    if card.recipe.degradation is not None:
        return Cell("-")  # nothing to select
    return percent(_number(card.gate("routing")), 1)


def _number(gate: Gate | None) -> float | None:
    return gate.figure if gate is not None and isinstance(gate.figure, float) else None


def _outcome(card: BuildCard) -> Cell:
    if card.refused:
        gates = ", ".join(_missed(card, name) for name in card.refused)
        return text(f"refused: {gates}", "bad")
    held_back = [gate.name for gate in card.gates if gate.passed is None]
    return text("passed" + (f"; not run: {', '.join(held_back)}" if held_back else ""))


def _missed(card: BuildCard, name: str) -> str:
    gate = card.gate(name)
    if gate is None or not isinstance(gate.figure, float) or not isinstance(gate.limit, float):
        return name
    return f"{name} {gate.figure:.3g}, limit {gate.limit:.3g}"


def _reasons(card: BuildCard) -> list[str]:
    """Lines for the gates that a build missed, or that could not run."""
    told: dict[str, list[str]] = {}
    for gate in card.gates:
        if gate.why and (gate.name in card.refused or gate.passed is None):
            told.setdefault(gate.why, []).append(gate.name)
    build = f"{card.recipe.target} {card.recipe.precision} {_routing(card)}"
    return [f"{build}, {', '.join(gates)}: {why}" for why, gates in told.items()]


def _unsupported() -> Section:
    """What targets do not do, and why: the table of ``python -m cpl_edge.quantize --list``."""
    cells = [
        (text(target), *(Cell("no") if reason else Cell("yes") for reason in precisions.values()))
        for target, precisions in SUPPORT.items()
    ]
    why = [
        f"{target} {precision}: {reason}"
        for target, precisions in SUPPORT.items()
        for precision, reason in precisions.items()
        if reason
    ]
    why += [f"{target} {precision}: {words}" for (target, precision), words in REMARKS.items()]
    table = Table("Supported", columns("target", *PRECISIONS), rows(cells))
    return Section("support", "What targets do, and why not the rest", (table, Listing(tuple(why))))


def _origins(results: Results) -> Section:
    """Machines and versions of all figures above."""
    digests = {student.value.digest for student in results.students}
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    remarks: list[str] = []
    for build in results.builds:
        if build.value.digest in digests:
            value = build.value
            _tell(told, build.file, value.machine, value.versions, value.date)
    for run in results.latency:
        if run.value.mode == "full" and any(row.digest in digests for row in run.value.rows):
            value_ = run.value
            _tell(told, run.file, value_.machine, value_.versions, value_.started)
            remarks += [f"{run.file}: {note}" for note in value_.notes]
    cells = [
        (
            text(", ".join(sorted(files))),
            text(machine),
            text(versions),
            text(max(d for dates in files.values() for d in dates)[:10] or None),
        )
        for (machine, versions), files in told.items()
    ]
    heads = columns("files", "machine", "versions", "last on")
    blocks: list[Block] = [Table("Measured", heads, rows(cells))]
    if remarks:
        blocks.append(Listing(tuple(remarks)))
    return Section("origins", "Machine and versions", tuple(blocks))


def _tell(
    told: dict[tuple[str, str], dict[str, list[str]]],
    file: str,
    machine: dict[str, Any],
    versions: dict[str, str],
    date: str | None,
) -> None:
    words = f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')} "
    words += f"{machine.get('architecture')}, Python {machine.get('python')}"
    ran = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    told.setdefault((words, ran), {}).setdefault(file, []).append(date or "")


def _left_out(results: Results) -> tuple[str, tuple[str, ...]] | None:
    digests = {student.value.digest for student in results.students}
    others = [found for found in results.builds if found.value.digest not in digests]
    if not others:
        return None
    lines = {f"{found.value.name} in {found.file}" for found in others}
    return "Cards of weights that do not ship, or no longer:", tuple(sorted(lines))
