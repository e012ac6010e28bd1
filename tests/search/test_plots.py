import xml.etree.ElementTree as ET

import pytest

from cpl_edge.search.plots import _apart, _front, _ticks, front, selections

SVG = "{http://www.w3.org/2000/svg}"


def elements(text, tag):
    return list(ET.fromstring(text).iter(SVG + tag))


def texts(svg):
    return [element.text for element in elements(svg, "text")]


def test_the_front_has_a_dot_for_each_seed_and_a_label_for_each_candidate(make_run, make_result):
    runs = [
        make_run("cheap", 0, macs=1_000_000),
        make_run("cheap", 1, macs=1_000_000, routed=(21, 31, 26, 5)),
        make_run("dear & good", 0, macs=4_000_000, routed=(30, 30, 30, 5)),
        make_run("dear", 0, macs=5_000_000, routed=(1, 1, 1, 5)),
    ]
    svg = front(make_result(runs))
    assert len(elements(svg, "circle")) == 4
    assert "cheap 25.50" in texts(svg)
    assert "dear & good 30.00" in texts(svg)
    assert "million multiply-accumulates at 256x256" in texts(svg)
    (line,) = elements(svg, "polyline")
    assert len(line.get("points").split()) == 2  # "dear" is beaten
    xs = [float(c.get("cx")) for c in elements(svg, "circle")]
    assert xs[0] == xs[1] < xs[2] < xs[3]
    ys = [float(c.get("cy")) for c in elements(svg, "circle")]
    assert ys[2] < ys[1] < ys[0] < ys[3]  # up is better


def test_milliseconds_take_the_place_of_macs_where_there_are_any(make_run, make_result):
    runs = [make_run("timed", latency_ms={"litert dynamic": 2.5}), make_run("not timed")]
    svg = front(make_result(runs))
    assert "litert dynamic, ms at 256x256" in texts(svg)
    assert len(elements(svg, "circle")) == 1


def test_a_single_point_is_drawn(make_run, make_result):
    assert len(elements(front(make_result([make_run()])), "circle")) == 1


def test_a_picture_shows_each_prompts_share_by_condition(make_run, make_result):
    shares = [(0.9, 0.1), (0.8, 0.2), (0.0, 1.0), (0.5, 0.5)]
    svg = selections(make_result([make_run("a", selected=shares), make_run("b", 1)]))
    cells = [c for c in elements(svg, "rect") if c.get("fill-opacity")]
    assert [float(c.get("fill-opacity")) for c in cells[:8]] == [v for row in shares for v in row]
    assert len(cells) == 8 + 16
    rows = [float(c.get("y")) for c in cells[:8:2]]
    assert rows == sorted(rows)
    assert "a, seed 0" in texts(svg)
    assert "b, seed 1" in texts(svg)
    assert "noise 50" in texts(svg)


def test_levels_of_a_degradation_stand_under_its_name(make_run, make_result):
    config = {"prompt": "levels", "degradations": ["noise", "rain"]}
    svg = selections(make_result([make_run(config=config, choices=2)]))
    assert {"noise", "rain"} <= set(texts(svg))
    svg = selections(make_result([make_run()]))  # sparse: prompts have numbers
    assert {"1", "2", "3", "4"} <= set(texts(svg))


def test_only_what_gains_for_its_cost_is_on_the_front():
    points = [(3, 30), (1, 20), (2, 19), (1, 18), (4, 30)]
    assert _front(points) == [(1, 20), (3, 30)]


def test_labels_are_moved_apart():
    assert _apart([5, 0, 4, 100], least=10) == [0, 10, 20, 100]


@pytest.mark.parametrize("low, high", [(0, 1), (27.31, 28.02), (531, 561), (1e-3, 2e-3), (0, 7)])
def test_ticks_are_round_and_inside(low, high):
    ticks = _ticks(low, high)
    assert 4 <= len(ticks) <= 11
    assert low <= ticks[0] < ticks[-1] <= high + 1e-9
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)
