from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.report.charts.frame import (
    SHAPES,
    Axis,
    Plane,
    axis,
    canvas,
    legend,
    marker,
    tick_text,
    words,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
positive = st.floats(1e-3, 1e6)


@given(st.lists(numbers, min_size=1, max_size=9))
def test_an_axis_holds_its_values_between_round_ticks(values):
    made = axis("x", values)
    assert 2 <= len(made.ticks) <= 8
    slack = 1e-6 * (made.high - made.low)
    assert made.low - slack <= min(values)
    assert max(values) <= made.high + slack
    assert made.place(made.low) == 0
    assert made.place(made.high) == 1


@given(st.lists(positive, min_size=1, max_size=9))
def test_a_logarithmic_axis_does_too(values):
    made = axis("x", values, log=True)
    assert 2 <= len(made.ticks) <= 14
    assert made.low <= min(values)
    assert max(values) <= made.high
    assert all(-1e-9 <= made.place(tick) <= 1 + 1e-9 for tick in made.ticks)


def test_ticks_are_round():
    assert axis("x", [0, 37], zero=True).ticks == (0, 10, 20, 30, 40)
    assert axis("x", [6.4, 19.4], log=True).ticks == (5, 7, 10, 15, 20, 30)
    assert axis("x", [5, 9], zero=True).low == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.5, "0.5"), (33.45, "33.45"), (12000, "12,000"), (1e-5, "1e-5")],
)
def test_tick_text(value, shown):
    assert tick_text(value) == shown


def test_up_is_more():
    plane = Plane(Axis("x", 0, 1, (0, 1)), Axis("y", 0, 1, (0, 1)), top=10)
    (x0, y0), (x1, y1) = plane.at(0, 0), plane.at(1, 1)
    assert x0 < x1
    assert y0 > y1
    assert plane.bottom > y0


def test_words_are_escaped_and_the_drawing_is_well_formed():
    parts = [words(0, 0, "<b> & co", "label"), marker(7, 1, 1, 9, 'a "quoted" <name>')]
    tree = ElementTree.fromstring(canvas(parts, 100))
    assert tree.attrib["aria-hidden"] == "true"
    assert "<b> & co" in "".join(tree.itertext())


def test_a_long_legend_takes_further_lines():
    names = [f"a rather long name {i}" for i in range(8)]
    parts, height = legend(names, 0)
    assert height > legend(names[:2], 0)[1]
    assert len(parts) == 16
    assert legend([], 0) == ([], 0)


def test_shapes_differ():
    assert len({marker(i, 0, 0, 0, "") for i in range(len(SHAPES))}) == len(SHAPES)
