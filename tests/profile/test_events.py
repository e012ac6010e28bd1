"""From events to rows."""

import pytest

from cpl_edge.profile.events import Event, make_rows
from cpl_edge.profile.graph import Graph, Node

NODES = [
    Node("Conv", "conv", frozenset({"a"}), "head", "name", 1000, (3, 8)),
    Node("Mul", "other", frozenset({"b"}), "head", "order", 0),
    Node("Conv", "conv", frozenset({"c"}), "encoder.0.expand", "name", 2000, (8, 8)),
]


def event(operator, *times, name="x", **more):
    return Event("forward", name, operator, "CPU", times=times, **more)


def test_names_lead_to_modules_and_work():
    rows = make_rows(
        [event("Conv", 10, name="c"), event("Conv", 30, name="y", aliases=frozenset({"a"}))],
        {"forward": Graph(NODES)},
    )
    assert [(r.module, r.mapping, r.macs) for r in rows] == [
        ("encoder.0.expand", "name", 2000),
        ("head", "name", 1000),
    ]
    assert [r.share for r in rows] == [0.25, 0.75]
    assert rows[0].gops == pytest.approx(2 * 2000 / 10e-6 / 1e9)
    assert rows[0].block == "encoder.0" and rows[0].level == "half"


def test_order_leads_to_modules_where_names_do_not():
    rows = make_rows(
        [event("Convolution", 1), event("Multiply", 1), event("Convolution", 1), event("Add", 1)],
        {"forward": Graph(NODES)},
    )
    assert [r.module for r in rows] == ["head", "head", "encoder.0.expand", "encoder.0"]
    assert {r.mapping for r in rows} == {"order"}


def test_a_convolution_of_single_pixels_may_run_as_a_linear_layer():
    rows = make_rows(
        [event("Convolution", 1), event("Fully Connected (NC, F32) GEMM", 1)],
        {"forward": Graph(NODES)},
    )
    assert [r.module for r in rows] == ["head", "encoder.0.expand"]
    linear = [Node("Gemm", "linear", frozenset({"a"}), "head", "name", 1000, (3, 8)), *NODES[1:]]
    (first, _) = make_rows([event("Convolution", 1)] * 2, {"forward": Graph(linear)})
    assert first.module == "unknown"  # not the other way round


def test_another_order_is_not_guessed_at():
    rows = make_rows([event("Convolution", 1), event("Add", 1)], {"forward": Graph(NODES)})
    assert [(r.module, r.mapping) for r in rows] == [("unknown", "unknown")] * 2
    assert rows[0].macs is None


def test_the_median_of_the_calls_counts():
    (row,) = make_rows([event("Conv", 5, 1000, 7)], {})
    assert row.microseconds == 7 and row.share == 1


def test_untimed_operators_have_no_share():
    (row,) = make_rows([event("Conv")], {})
    assert row.microseconds is None and row.share is None and row.gops is None


def test_a_delegate_as_a_whole_stands_for_no_module():
    rows = make_rows([event("Conv", 1), event("DELEGATE_CALL", 9)], {})
    assert (rows[1].module, rows[1].macs) == ("unknown", None)


def test_entry_points_have_their_own_shares():
    events = [event("Conv", 4), Event("route", "r", "Conv", "CPU", times=(1,))]
    assert [r.share for r in make_rows(events, {})] == [1, 1]


def test_what_another_delegate_ran_is_not_placed_between():
    outside = Event("forward", "t", "TOPK", "GPU", times=(1,))
    rows = make_rows(
        [event("Convolution", 1), outside, event("Convolution", 1)], {"forward": Graph(NODES)}
    )
    assert [r.module for r in rows] == ["head", "unknown", "encoder.0.expand"]
