"""The shipped students: what they are, how they were trained, what they cannot do."""

from __future__ import annotations

from cpl_edge.report.charts.lines import lines
from cpl_edge.report.document import (
    Block,
    Chart,
    Commands,
    Listing,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    rows,
    text,
)
from cpl_edge.report.formats import StudentCard
from cpl_edge.report.results import Results


def students(results: Results) -> Section:
    """Cards of ``weights/``."""
    blocks: list[Block] = []
    cards = [found.value for found in results.students]
    if cards:
        blocks.append(_table(cards))
        for card in cards:
            if curve := _curve(card):
                blocks.append(curve)
            if card.limits:
                blocks.append(Paragraph(f"What {card.student} cannot do, and must be known first:"))
                blocks.append(Listing(card.limits))
            if card.training.terms:
                blocks.append(Paragraph(f"Images of {card.student}: {card.training.terms}."))
    else:
        blocks.append(Paragraph("Not measured: no weights ship with a card."))
    blocks.append(
        Commands(
            (
                "python -m cpl_edge.train --recipe student-s --data FOLDER",
                "python -m cpl_edge.train.card --run RUN --output weights/NAME.json",
            )
        )
    )
    return Section("students", "Students", tuple(blocks))


def _table(cards: list[StudentCard]) -> Table:
    heads = columns(
        "student",
        "weights",
        "parameters #",
        "GMAC at 256x256 #",
        "training images #",
        "steps #",
        "hours #",
        "trained on",
    )
    cells = []
    for card in cards:
        training = card.training
        hours = None if training.seconds is None else training.seconds / 3600
        cells.append(
            (
                text(card.student),
                text(card.digest[:8] or None),
                number(card.parameters, 0),
                number(card.macs_256x256 / 1e9),
                number(training.images, 0),
                number(training.steps, 0),
                number(hours),
                text(training.device) if training.device else missing("not told"),
            )
        )
    return Table("Students that ship", heads, rows(cells), "Weights: first digits of the SHA-256.")


def _curve(card: StudentCard) -> Chart | None:
    """Gain on held-out images while training."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in card.training.curve:
        for name, figures in point.validation.items():
            gain = figures.after - figures.before
            curves.setdefault(name, []).append((point.step / 1000, gain))
    if not curves:
        return None
    ends = ", ".join(f"{name} {curve[-1][1]:+.2f} dB" for name, curve in curves.items())
    return Chart(
        f"Training of {card.student}: gain on held-out images",
        lines(curves, "thousand steps", "gain (dB)"),
        f"Gain in PSNR over the degraded image at each validation. At the end: {ends}.",
    )
