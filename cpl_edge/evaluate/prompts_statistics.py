"""Does the selection separate the degradations? Entropy and mutual information, in bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Indices = Sequence[int] | Integers

SHUFFLES = 200
"""Random assignments that tell how much information chance alone would show."""


def entropy(p_N: npt.ArrayLike) -> Floats:
    """Entropy of distributions along the last axis: 0 for one certain outcome, log2 N for even."""
    p = np.asarray(p_N, np.float64)
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    bits: Floats = -(p * logs).sum(-1) + 0.0  # never -0
    return bits


def counts(labels_I: Indices, chosen_I: Indices, shape: tuple[int, int]) -> Integers:
    """How often each label met each choice.

    Args:
        labels_I: of each image, the degradation.
        chosen_I: of each image, the prompt.
        shape: number of degradations and of prompts.
    """
    table = np.zeros(shape, np.int64)
    np.add.at(table, (np.asarray(labels_I), np.asarray(chosen_I)), 1)
    return table


def mutual_information(table: Integers) -> float:
    """Bits that the choice tells about the label: H(label) + H(choice) - H(both)."""
    p = table / table.sum()
    return float(entropy(p.sum(1)) + entropy(p.sum(0)) - entropy(p.ravel()))


def by_chance(labels_I: Indices, chosen_I: Indices, shape: tuple[int, int]) -> float:
    """Mean mutual information when the choices are dealt out at random.

    With few images even a choice that has nothing to do with the label seems to tell something.
    """
    generator = np.random.default_rng(0)
    dealt = (generator.permutation(np.asarray(chosen_I)) for _ in range(SHUFFLES))
    values = [mutual_information(counts(labels_I, chosen, shape)) for chosen in dealt]
    return float(np.mean(values))


def separation(labels_I: Indices, chosen_I: Indices, shape: tuple[int, int]) -> float:
    """One number: 1 where the choice tells the label, 0 where it tells no more than chance.

    (MI - chance) / (H(label) - chance), an adjusted mutual information (Vinh et al. 2010) whose
    scale is what there is to know. Several prompts for one degradation cost nothing; one prompt
    for several does.
    """
    table = counts(labels_I, chosen_I, shape)
    most = float(entropy(table.sum(1) / table.sum()))
    chance = by_chance(labels_I, chosen_I, shape)
    if most - chance < 1e-9:  # one degradation, or so few images that chance explains everything
        return 0.0
    return (mutual_information(table) - chance) / (most - chance)
