import re

from cpl_edge.report.document import Cell, Details, Document, Section, Table, columns, rows
from cpl_edge.report.html import to_html
from cpl_edge.report.markdown import plain, to_markdown


def tables(blocks):
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details):
            yield from tables(block.blocks)


def test_both_writers_hold_the_same_tables(document):
    markdown, page = to_markdown(document), to_html(document)
    made = [t for s in document.sections for t in tables(s.blocks)]
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(lines) == sum(2 + len(t.rows) for t in made)
    assert page.count("<table") == len([t for t in made if t.rows])
    for table in made:
        assert plain(table.title) in markdown
    assert page.count("<tr>") == sum(1 + len(t.rows) for t in made if t.rows)


def test_every_line_of_a_table_has_its_columns(document):
    markdown = to_markdown(document)
    for block in re.split(r"\n\n", markdown):
        if block.startswith("| "):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1, block


def test_characters_mean_nothing_but_themselves():
    cells = [[Cell("a|b*c_<d>\n[e]", "x"), Cell("not measured", None, "missing")]]
    table = Table("t", columns("one", "two #"), rows(cells))
    text = to_markdown(Document("T", "l", (Section("s", "S", (table,)),)))
    assert "| a\\|b\\*c\\_\\<d\\> \\[e\\] | *not measured* |" in text
    assert "| --- | ---: |" in text


def test_charts_are_told_in_words(document):
    markdown = to_markdown(document)
    assert "<svg" not in markdown
    assert "### Roofline: share of the machine's measured peak" in markdown
    assert "75% in fp32 and 60% in int8" in markdown


def test_commands_are_code(document):
    assert "\n    python -m cpl_edge.benchmark --photo-suite\n" in to_markdown(document)
