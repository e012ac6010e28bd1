import math

import pytest

from cpl_edge.report.document import Column, Table, columns, missing, number, percent, rows, text


@pytest.mark.parametrize(
    ("cell", "words", "sort"),
    [
        (number(1234.567), "1,234.57", 1234.567),
        (number(-0.0004, 3), "0.000", 0.0),
        (number(-0.0004, 3, sign=True), "+0.000", 0.0),
        (number(2, 1, sign=True, unit=" dB"), "+2.0 dB", 2),
        (number(None), "not measured", None),
        (number(math.inf), "not measured", None),
        (percent(0.975, 1), "97.5 %", 97.5),
        (percent(None), "not measured", None),
        (text("Noise"), "Noise", None),
        (text(None), "not measured", None),
        (missing("not run"), "not run", None),
    ],
)
def test_cells(cell, words, sort):
    assert (cell.text, cell.sort) == (words, sort)
    assert (cell.mark == "missing") == words.startswith("not ")


def test_headings_say_whether_they_are_numbers():
    assert columns("build", "ms #") == (Column("build"), Column("ms", numeric=True))


def test_a_row_of_another_length_is_our_mistake():
    with pytest.raises(AssertionError):
        Table("t", columns("a", "b"), rows([[text("x")]]))
