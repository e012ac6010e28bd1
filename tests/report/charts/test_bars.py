from xml.etree import ElementTree

import pytest

from cpl_edge.report.charts.bars import Bar, bars
from cpl_edge.report.charts.frame import WIDTH


def drawn(svg, kind):
    return [e for e in ElementTree.fromstring(svg).iter() if kind in e.attrib.get("class", "")]


def test_lengths_are_shares_of_the_longest():
    svg = bars([Bar("a", {"x": 1.0}, "1"), Bar("b", {"x": 4.0}, "4", faint=True)])
    widths = [float(e.attrib["width"]) for e in drawn(svg, "s0")]
    assert widths == [pytest.approx((WIDTH - 4) / 4, abs=0.1), pytest.approx(WIDTH - 4)]
    assert len(drawn(svg, "faint")) == 1


def test_parts_follow_each_other_and_a_goal_is_marked():
    svg = bars([Bar("a", {"x": 0.25, "y": 0.25}, "50%", goal=0.75)], full=1)
    second = [e for e in drawn(svg, "s1") if e.attrib["height"] == "12"]
    assert float(second[0].attrib["x"]) == pytest.approx(2 + (WIDTH - 4) / 4, abs=0.1)
    (goal,) = drawn(svg, "goal")
    assert float(goal.attrib["x1"]) == pytest.approx(2 + (WIDTH - 4) * 0.75, abs=0.1)


def test_nothing_but_zeros_is_drawn_without_a_division():
    assert "<rect" in bars([Bar("a", {"x": 0.0}, "0")])
