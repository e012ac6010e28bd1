"""Builds that passed their gates, and builds that were refused with the reason."""

from __future__ import annotations

from cpl_edge.report.document import (
    Block,
    Cell,
    Commands,
    Details,
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
from cpl_edge.report.results import Results

_COMMANDS = (
    "python -m cpl_edge.export --target all --json benchmarks/results/s-exports.json",
    "python -m cpl_edge.export --target litert --precision w8a8",
)


def builds(results: Results) -> Section:
    """One line a build, one line a refusal, and every gate for who asks."""
    cards = newest(results)
    blocks: list[Block] = []
    if not cards:
        blocks.append(Paragraph("Not measured: no build has left its card among the results."))
    else:
        shipped = {found.value.digest for found in results.students}
        blocks.append(_table(cards, shipped))
        refused = [card for card in cards if card.refused]
        if refused:
            blocks.append(_refusals(refused))
        else:
            blocks.append(Paragraph("No committed build was refused."))
        blocks.append(Details("Every gate of every build", tuple(_gates(card) for card in cards)))
    blocks.append(Commands(_COMMANDS))
    return Section("builds", "Builds and refusals", tuple(blocks))


def newest(results: Results) -> list[BuildCard]:
    """The newest card of each build, those that passed first."""
    cards: dict[str, BuildCard] = {}
    for found in results.builds:
        card = found.value
        known = cards.get(card.name)
        if known is None or (card.date or "") >= (known.date or ""):
            cards[card.name] = card
    return sorted(cards.values(), key=lambda card: bool(card.refused))


def _table(cards: list[BuildCard], shipped: set[str]) -> Table:
    heads = columns(
        "build",
        "verdict",
        "MB #",
        "parity, max abs #",
        "parity, dB #",
        "mean drop, dB #",
        "worst drop, dB #",
        "same prompts #",
        "load, ms #",
        "forward, ms #",
        "outside accelerator #",
        "ran on",
        "weights",
    )
    cells = []
    for card in cards:
        parity = _figure(card, "parity")
        absolute = card.recipe.precision == "fp32"
        outside = None if not card.outside else sum(len(ops) for ops in card.outside.values())
        cells.append(
            (
                text(card.name),
                text("refused", "bad") if card.refused else text("passed", "good"),
                number(None if card.bytes is None else card.bytes / 1e6),
                _tiny(parity) if absolute else Cell("in dB", None, "missing"),
                missing("max abs") if absolute else number(parity, 1),
                number(_figure(card, "drop_mean"), 3),
                number(_figure(card, "drop_worst"), 3),
                percent(_figure(card, "routing"), 1),
                number(card.load_ms, 1),
                number(card.latency_ms.get("forward"), 2),
                number(outside, 0),
                text(card.executed or None),
                text(card.digest[:8], "" if card.digest in shipped else "note"),
            )
        )
    return Table(
        "Builds",
        heads,
        rows(cells),
        "Figures of the gates: 20 degraded crops, one thread, median time of 256x256 pixels. The "
        "drop is against the fp32 student, of the degradation that loses most. Weights in italics "
        "are not those that ship now.",
    )


def _refusals(cards: list[BuildCard]) -> Table:
    cells = []
    for card in cards:
        for name in card.refused:
            gate = card.gate(name) or Gate(name=name)
            cells.append(
                (
                    text(card.name),
                    text(name),
                    _value(gate.figure),
                    _value(gate.limit),
                    text(gate.why or None),
                    text((card.date or "")[:10] or None),
                )
            )
    return Table(
        "Refused builds, and why",
        columns("build", "gate", "figure #", "limit #", "why", "on"),
        rows(cells),
    )


def _gates(card: BuildCard) -> Table:
    states = {
        True: text("passed", "good"),
        False: text("failed", "bad"),
        None: missing("not run"),
    }
    cells = [
        (
            text(gate.name),
            _value(gate.figure),
            missing("none") if gate.limit is None else _value(gate.limit),
            states[gate.passed],
            text(gate.why or "-"),
        )
        for gate in card.gates
    ]
    heads = columns("gate", "figure #", "limit #", "", "remark")
    return Table(f"Gates of {card.name}", heads, rows(cells))


def _figure(card: BuildCard, name: str) -> float | None:
    gate = card.gate(name)
    return gate.figure if gate and isinstance(gate.figure, float) else None


def _value(value: float | str | None) -> Cell:
    if isinstance(value, float):
        return Cell(f"{value:.3g}", value)
    return text(value)


def _tiny(value: float | None) -> Cell:
    return missing() if value is None else Cell(f"{value:.1e}", value)
