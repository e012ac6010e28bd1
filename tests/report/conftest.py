"""Synthetic results, none of which was measured, and what a report makes of them."""

from pathlib import Path

import pytest

from cpl_edge.report.document import Details, Section, Table
from cpl_edge.report.make import assemble
from cpl_edge.report.results import Results, read_results

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture
def found() -> Results:
    return read_results(GOLDEN / "results", GOLDEN / "weights")


@pytest.fixture(scope="session")
def document():
    return assemble(read_results(GOLDEN / "results", GOLDEN / "weights"))


def _tables(blocks):
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details):
            yield from _tables(block.blocks)


@pytest.fixture
def rows_of():
    """Rows of the one table of a section whose title begins so, as dicts of text by heading."""

    def find(section: Section, title: str) -> list[dict[str, str]]:
        found = [t for t in _tables(section.blocks) if t.title.startswith(title)]
        assert len(found) == 1, [t.title for t in _tables(section.blocks)]
        heads = [column.title for column in found[0].columns]
        return [dict(zip(heads, (cell.text for cell in row), strict=True)) for row in found[0].rows]

    return find


@pytest.fixture
def words_of():
    """All text of a section's paragraphs, lists, commands, notes and descriptions."""

    def collect(blocks) -> str:
        parts = []
        for block in blocks:
            for name in ("text", "about", "title", "note", "summary"):
                parts.append(getattr(block, name, ""))
            for name in ("items", "lines"):
                parts += [
                    x if isinstance(x, str) else " ".join(map(str, x))
                    for x in getattr(block, name, ())
                ]
            if isinstance(block, Details):
                parts.append(collect(block.blocks))
        return "\n".join(parts)

    return lambda section: collect(section.blocks)
