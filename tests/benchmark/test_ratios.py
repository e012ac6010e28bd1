import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.benchmark.ratios import interval, round_ratios

times = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=12)


def test_only_rounds_with_both_count():
    np.testing.assert_array_equal(round_ratios([10, None, 30, 40], [1, 2, 3]), [10, 10])
    assert len(round_ratios([None], [1])) == 0


@given(times, st.floats(1.01, 5))
def test_a_machine_that_drifts_hurts_both_and_changes_nothing(rounds, factor):
    drift = np.linspace(1, 3, len(rounds))
    a, b = np.array(rounds) * factor * drift, np.array(rounds) * drift
    found = interval(round_ratios(a, b))
    assert found.ratio == pytest.approx(factor)
    assert found.low == pytest.approx(factor) and found.high == pytest.approx(factor)


@given(times)
def test_the_interval_holds_the_ratio_and_lies_within_the_rounds(rounds):
    group = np.array(rounds)
    found = interval(group)
    slack = 1 + 1e-9
    assert group.min() / slack <= found.low <= found.ratio * slack
    assert found.ratio / slack <= found.high <= group.max() * slack
    assert found.rounds == len(rounds)


def test_more_rounds_narrow_it_and_it_covers_the_truth():
    rng = np.random.default_rng(1)
    covered, widths = 0, {6: 0.0, 48: 0.0}
    for _ in range(100):
        for count in widths:
            found = interval(np.exp(rng.normal(np.log(2), 0.1, count)))
            widths[count] += found.high - found.low
            covered += found.low <= 2 <= found.high
    assert widths[48] < widths[6] / 2
    assert covered >= 170  # of 200; the bootstrap of 6 rounds is a little too narrow


def test_two_groups_give_the_ratio_of_their_means():
    found = interval(np.array([6.0, 6.0]), np.array([2.0, 2.0, 2.0]))
    assert (found.ratio, found.low, found.high) == pytest.approx((3, 3, 3))
    assert found.rounds == 2


def test_it_is_the_same_every_time():
    group = np.array([1.0, 1.2, 0.9, 1.4])
    assert interval(group) == interval(group)
