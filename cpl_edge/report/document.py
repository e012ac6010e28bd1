"""What a report consists of, whatever it is written as: sections of text, tables and charts.

Both writers (:mod:`cpl_edge.report.html`, :mod:`cpl_edge.report.markdown`) walk the same blocks,
so that neither can show a figure that the other lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NOT_MEASURED = "not measured"
Mark = Literal["", "good", "bad", "missing", "note"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is shown.
        sort: what a numeric column is sorted by, where None is last in either direction; others
            are sorted by their text.
        mark: how it is drawn; ``missing`` for what was not measured.
    """

    text: str
    sort: float | None = None
    mark: Mark = ""


@dataclass(frozen=True)
class Column:
    """Heading of a column.

    Attributes:
        title: short, with the unit.
        numeric: aligned to the right and sorted by value.
    """

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table that readers can sort; every row has as many cells as there are columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), (self.title, len(row), len(self.columns))


@dataclass(frozen=True)
class Chart:
    """A drawing and the words that say the same.

    Attributes:
        title: short.
        svg: one ``<svg>`` element, made by :mod:`cpl_edge.report.charts`, hence trusted.
        about: what the drawing shows, in a sentence or two that can stand in for it.
    """

    title: str
    svg: str
    about: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Bullets of plain text."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """A few figures to see first: name, value, remark."""

    items: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Commands:
    """Shell lines that measure what stands above, or that would."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Crop:
    """One crop before and after, as ``data:`` URIs of images of equal size.

    Attributes:
        name: unique on the page, for ``id`` attributes.
        title: degradation and photo.
        caption: figures.
        degraded: before.
        restored: after.
        clean: what it should be.
        pixels: side of the square crop.
    """

    name: str
    title: str
    caption: str
    degraded: str
    restored: str
    clean: str
    pixels: int


@dataclass(frozen=True)
class Crops:
    """Crops to compare with a slider."""

    items: tuple[Crop, ...]


@dataclass(frozen=True)
class Details:
    """Blocks that are folded until somebody asks for them."""

    summary: str
    blocks: tuple[Block, ...]


Block = Table | Chart | Paragraph | Listing | Figures | Commands | Crops | Details


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]


def text(value: object, mark: Mark = "") -> Cell:
    """A cell of words, or *not measured* for None."""
    return missing() if value is None else Cell(str(value), mark=mark)


def number(
    value: float | None, digits: int = 2, mark: Mark = "", sign: bool = False, unit: str = ""
) -> Cell:
    """A cell of a number, or *not measured* for None or what is not finite."""
    if value is None or not math.isfinite(value):
        return missing()
    value = value if round(value, digits) else 0.0  # never -0.00
    return Cell(f"{value:{'+' if sign else ''},.{digits}f}{unit}", value, mark)


def percent(share: float | None, digits: int = 0) -> Cell:
    """A share of 1 as a percentage."""
    if share is None:
        return missing()
    return number(100 * share, digits, unit=" %")


def missing(words: str = NOT_MEASURED) -> Cell:
    """What nobody measured, in the words of the reader."""
    return Cell(words, None, "missing")


def columns(*titles: str) -> tuple[Column, ...]:
    """Headings from titles; one that ends in ``#`` is numeric and loses the ``#``."""
    return tuple(Column(t.removesuffix("#").strip(), t.endswith("#")) for t in titles)


def rows(cells: Sequence[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as a :class:`Table` holds them."""
    return tuple(tuple(row) for row in cells)
