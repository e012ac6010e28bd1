"""Ratios of times with intervals: from rounds in which both took part, never from seconds alone.

In every round the entries answered within the same minute, so the ratio of two medians of one
round is free of what slowed that minute down. The ratio of a run is the geometric mean of those;
its interval is the percentile bootstrap over rounds (Efron 1979), with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 2000
CONFIDENCE = 0.95

Rounds = Sequence[float | None]


@dataclass(frozen=True)
class Interval:
    """A ratio and its 95 % interval.

    Attributes:
        ratio: the geometric mean.
        low: lower end.
        high: upper end; all three are equal where there was one round only.
        rounds: how many there were.
    """

    ratio: float
    low: float
    high: float
    rounds: int


def round_ratios(a: Rounds, b: Rounds) -> npt.NDArray[np.float64]:
    """Time of a over time of b in every round that has both."""
    pairs = zip(a, b, strict=False)
    return np.array([x / y for x, y in pairs if x is not None and y is not None])


def interval(*groups: npt.NDArray[np.float64]) -> Interval:
    """The geometric mean of one group of ratios, or of a first over a second one.

    Args:
        groups: one or two arrays of ratios, none empty; each is drawn from on its own.
    """
    assert groups and all(len(group) for group in groups)
    rng = np.random.default_rng(0)
    centre, draws = 0.0, np.zeros(DRAWS)
    for sign, group in zip((1, -1), groups, strict=False):
        logs = np.log(group)
        centre += sign * float(logs.mean())
        draws += sign * logs[rng.integers(0, len(logs), (DRAWS, len(logs)))].mean(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    rounds = min(len(group) for group in groups)
    return Interval(float(np.exp(centre)), float(np.exp(low)), float(np.exp(high)), rounds)
