"""Entropy, mutual information and separation on selections whose answer is known."""

import numpy as np
import pytest

from cpl_edge.evaluate.prompts_statistics import (
    by_chance,
    counts,
    entropy,
    mutual_information,
    separation,
)

LABELS = [d for d in range(5) for _ in range(20)]


def test_entropy_in_bits():
    assert entropy([1.0, 0, 0, 0]) == 0
    assert entropy([0.25] * 4) == 2
    assert entropy([[0.5, 0.5], [0.9, 0.1]]).tolist() == pytest.approx([1, 0.468996])


def test_counts():
    assert counts([0, 0, 1], [2, 2, 0], (2, 3)).tolist() == [[0, 0, 2], [1, 0, 0]]


def test_information_equals_scikit_learns_definition():
    # log-likelihood ratio of the joint against the product of its margins
    table = np.array([[8, 1, 1], [2, 5, 3], [0, 4, 6]])
    p = table / table.sum()
    product = p.sum(1, keepdims=True) * p.sum(0)
    expected = sum(p[i] * np.log2(p[i] / product[i]) for i in np.ndindex(3, 3) if p[i])
    assert mutual_information(table) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 1, 2]])
def test_one_prompt_each_separates_whatever_their_order(order):
    chosen = [order[d] for d in LABELS]
    assert mutual_information(counts(LABELS, chosen, (5, 5))) == pytest.approx(np.log2(5))
    assert separation(LABELS, chosen, (5, 5)) == pytest.approx(1)


def test_one_prompt_for_all_is_a_collapse():
    assert mutual_information(counts(LABELS, [3] * 100, (5, 5))) == 0
    assert separation(LABELS, [3] * 100, (5, 5)) == 0


def test_noise_rain_and_blur_on_one_prompt_is_between():
    chosen = [0 if d < 3 else d for d in LABELS]
    assert 0.5 < separation(LABELS, chosen, (5, 5)) < 0.65


def test_two_prompts_for_one_degradation_cost_nothing():
    chosen = [2 * d + i % 2 for i, d in enumerate(LABELS)]
    assert separation(LABELS, chosen, (5, 10)) == pytest.approx(1)


def test_a_router_that_throws_dice_separates_nothing_even_with_few_images():
    few = [d for d in range(5) for _ in range(4)]
    values = []
    for seed in range(40):
        chosen = np.random.default_rng(seed + 1).integers(0, 5, 20)
        values.append(separation(few, chosen, (5, 5)))
        assert mutual_information(counts(few, chosen, (5, 5))) > 0.2  # what chance looks like
    assert abs(np.mean(values)) < 0.05


def test_chance_is_the_same_every_time():
    chosen = np.random.default_rng(1).integers(0, 5, 100)
    assert by_chance(LABELS, chosen, (5, 5)) == by_chance(LABELS, chosen, (5, 5))


def test_one_degradation_or_one_image_of_each_says_nothing():
    assert separation([0] * 9, [1] * 9, (1, 5)) == 0
    assert separation([0, 1, 2], [0, 1, 2], (3, 3)) == 0
