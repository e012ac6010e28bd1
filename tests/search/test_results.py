import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.search.results import Figures, SearchResult, agreements, separation, spearman


def test_a_degradation_counts_once_however_many_conditions_it_has(make_run, make_result):
    run = make_run(routed=(20.0, 30.0, 29.0, 99.0))
    result = make_result([run])
    assert result.seen == [["noise 15", "noise 50"], ["rain"]]
    assert run.mean(result.seen) == pytest.approx((25 + 29) / 2)
    assert run.mean(result.seen, "told") == pytest.approx((26 + 30) / 2)
    assert run.mean(result.seen, "best") is None
    assert run.quality(result.seen) == run.mean(result.seen)


def test_a_run_that_cannot_route_is_judged_as_told(make_run, make_result, conditions):
    figures = tuple(
        Figures(condition=c["label"], input=1.0, told=t)
        for c, t in zip(conditions, (20.0, 30.0, 29.0, 5.0), strict=True)
    )
    run = make_run().model_copy(update={"figures": figures})
    assert run.quality(make_result([run]).seen) == pytest.approx(27)


def test_a_result_survives_json(make_run, make_result):
    result = make_result([make_run(), make_run(seed=1)])
    assert SearchResult.model_validate_json(result.model_dump_json()) == result
    assert "runs" in SearchResult.model_json_schema()["required"]


distinct = st.lists(st.integers(-50, 50), min_size=3, max_size=9, unique=True)


@given(distinct)
def test_spearman_of_an_order_with_itself_and_its_reverse(values):
    assert spearman(values, [3 * v + 1 for v in values]) == pytest.approx(1)
    assert spearman(values, [-(v**3) for v in values]) == pytest.approx(-1)


def test_spearman_of_a_worked_example_and_of_ties():
    # Without ties 1 - 6 sum d^2 / (n (n^2 - 1)); d = 0, 1, 1, 0.
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    ranks = np.corrcoef([0, 1.5, 1.5, 3], [0, 1, 2, 3])[0, 1]
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(ranks, abs=1e-4)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


def test_agreement_is_of_means_over_seeds_with_the_end(make_run):
    runs = [
        make_run("a", 0, curve=(1, 5, 9)),
        make_run("a", 1, curve=(3, 5, 9)),
        make_run("b", 0, curve=(2.5, 4, 8)),
        make_run("c", 0, curve=(1.9, 3, 7)),
    ]
    first, second = agreements(runs)
    assert (first.part, second.part) == (0.3, 0.6)
    assert first.spearman == pytest.approx(0.5)  # order a 2.0, b 2.5, c 1.9 against a, b, c
    assert not first.best_kept
    assert (second.spearman, second.best_kept) == (1.0, True)


def test_agreement_leaves_out_what_cannot_route_and_asks_for_three(make_run):
    oracle = make_run("oracle", curve=(9, 0), routed=(None,) * 4)
    (agreement,) = agreements([make_run("a"), make_run("b", curve=(3, 4)), oracle])
    assert agreement.spearman is None
    assert agreement.best_kept
    assert agreements([]) == ()


@pytest.mark.parametrize(
    ("selected", "choices", "expected"),
    [
        ([(1, 0), (1, 0), (0, 1), (0, 1)], 1, 1.0),
        ([(1, 0), (1, 0), (1, 0), (0, 1)], 1, 0.0),  # the unseen condition does not count
        ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (1, 0)], 1, 0.0),
        # Levels of one degradation are one choice.
        ([(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0)], 2, 1.0),
        ([(1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (1, 0, 0, 0)], 2, 0.0),
        ([(), (), (), ()], 1, None),
    ],
)
def test_separation(make_run, selected, choices, expected, conditions):
    assert separation(make_run(selected=selected, choices=choices), conditions) == expected


def test_separation_in_between(make_run, conditions):
    # P(choice 0 | noise) = 0.75, P(choice 0 | rain) = 0: mutual information in bits.
    run = make_run(selected=[(1, 0), (0.5, 0.5), (0, 1), (0, 1)])
    joint = np.array([[0.375, 0.125], [0.0, 0.5]])
    outer = joint.sum(1, keepdims=True) * joint.sum(0)
    bits = sum(j * np.log2(j / o) for j, o in zip(joint.flat, outer.flat, strict=True) if j)
    assert separation(run, conditions) == pytest.approx(bits, abs=1e-4)


def test_separation_of_a_teacher_is_that_of_its_best_site(make_run, conditions):
    blind, telling = (0.5, 0.5), ((1.0, 0.0), (0.0, 1.0))
    rows = [(*blind, *telling[c["degradation"] == "rain"]) for c in conditions]
    assert separation(make_run(selected=rows, sites=2), conditions) == 1.0
    # One site of four prompts: half of the information is lost among the others.
    assert separation(make_run(selected=rows), conditions) != 1.0
