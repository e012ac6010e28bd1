"""What a search writes, and what follows from it: means, rank agreement, separation.

``SearchResult.model_json_schema()`` is the schema of the files under ``benchmarks/results``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cpl_edge.recipe import Table


class Figures(Table):
    """One condition of one trained candidate, means over the held-out crops.

    Attributes:
        condition: its label.
        input: PSNR of the degraded crops in dB.
        routed: PSNR when the student routes by itself; None where its router learned nothing.
        told: PSNR when it is told the true degradation; None where there is no prompt of it.
        best: PSNR of the best of its degradations' prompts for each crop, where the condition has
            no true one; else None.
        wrong: PSNR with prompts that are not the right ones, see
            :mod:`cpl_edge.search.measure`; None where there are none.
        right: share of crops whose degradation it named; None where it has no names for them.
        selected: share of crops on which each prompt weighed most; those of a teacher's sites
            follow one another.
        weights: mean share of each prompt in the selection.
    """

    condition: str
    input: float
    routed: float | None = None
    told: float | None = None
    best: float | None = None
    wrong: float | None = None
    right: float | None = None
    selected: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()


class CurvePoint(Table):
    """A validation in the course of training: mean PSNR over its degradations."""

    step: int
    psnr: float


class Run(Table):
    """One candidate, trained with one seed and measured.

    Attributes:
        candidate: its name.
        seed: of weights, crops and degradations.
        recipe: all words of its recipe.
        config: all settings of its network.
        steps: of training.
        seconds: of training, on a machine that may have had other work.
        parameters: of the network.
        macs: multiply-accumulates at 256x256, its router's included.
        choices: prompts that stand for one choice of the router: M levels, else 1.
        sites: places in the network where prompts are selected anew: 3 in a teacher.
        curve: validations.
        figures: one for each condition.
        latency_ms: median of a call at 256x256 by target and precision, where measured.
        not_exported: why there is no latency, where it was asked for.
    """

    candidate: str
    seed: int
    recipe: dict[str, Any]
    config: dict[str, Any]
    steps: int
    seconds: float
    parameters: int
    macs: int
    choices: int
    sites: int = 1
    curve: tuple[CurvePoint, ...]
    figures: tuple[Figures, ...]
    latency_ms: dict[str, float] = Field(default_factory=dict)
    not_exported: str | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.candidate}-{self.seed}"

    def figure(self, condition: str) -> Figures:
        """The figures of a condition."""
        return next(f for f in self.figures if f.condition == condition)

    def mean(self, groups: Sequence[Sequence[str]], which: str = "routed") -> float | None:
        """Mean PSNR over degradations, each the mean of its conditions; None if one has none."""
        values = [[getattr(self.figure(c), which) for c in group] for group in groups]
        if any(None in group for group in values):
            return None
        return float(np.mean([np.mean(group) for group in values]))

    def quality(self, groups: Sequence[Sequence[str]]) -> float:
        """What a candidate is judged by: :meth:`mean`, routed by itself if it can."""
        routed = self.mean(groups)
        told = self.mean(groups, "told") if routed is None else routed
        assert told is not None
        return told


class Agreement(Table):
    """How well the order at a part of the budget tells the final one.

    Attributes:
        part: of the budget.
        spearman: rank correlation of the candidates; None with fewer than three.
        best_kept: whether the same candidate is best.
    """

    part: float
    spearman: float | None
    best_kept: bool


class SearchResult(Table):
    """All that a search has found so far.

    Attributes:
        format: version of this description.
        name: of the list.
        about: its one line.
        date: ISO 8601.
        machine: see :func:`cpl_edge.machine.machine`.
        versions: see :func:`cpl_edge.machine.versions`.
        images: number of images trained on.
        crops: number of held-out crops.
        side: of those in pixels.
        conditions: their words, in order.
        about_candidates: one line for each candidate, in order.
        planned: how many runs there will be.
        runs: that are finished.
        agreement: of parts of the budget with the whole.
    """

    format: Literal[1] = 1
    name: str
    about: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    images: int
    crops: int
    side: int
    conditions: tuple[dict[str, Any], ...]
    about_candidates: dict[str, str]
    planned: int
    runs: tuple[Run, ...]
    agreement: tuple[Agreement, ...] = ()

    @property
    def seen(self) -> list[list[str]]:
        """Labels of the conditions that training shows, a list for each degradation."""
        groups: dict[str, list[str]] = {}
        for condition in self.conditions:
            if condition["seen"]:
                groups.setdefault(condition["degradation"], []).append(condition["label"])
        return list(groups.values())

    def of(self, candidate: str) -> list[Run]:
        """The finished runs of a candidate."""
        return [run for run in self.runs if run.candidate == candidate]


def agreements(runs: Sequence[Run]) -> tuple[Agreement, ...]:
    """Rank agreement of each part of the budget with the whole, by the training's validations.

    The part of a run is not a short run: its learning rate has not come down yet.
    """
    curves: dict[str, list[list[float]]] = {}
    for run in runs:
        if run.figures[0].routed is None:
            continue  # validations route
        curves.setdefault(run.candidate, []).append([point.psnr for point in run.curve])
    if not curves or len({len(c) for many in curves.values() for c in many}) != 1:
        return ()
    table = np.array([np.mean(many, 0) for many in curves.values()])  # candidates x points
    parts = [point.step / runs[0].steps for point in runs[0].curve]
    return tuple(
        Agreement(
            part=part,
            spearman=spearman(table[:, i], table[:, -1]) if len(table) > 2 else None,
            best_kept=bool(table[:, i].argmax() == table[:, -1].argmax()),
        )
        for i, part in enumerate(parts[:-1])
    )


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Rank correlation, equal values sharing their mean rank; 0 where all of one are equal."""
    x, y = (_ranks(np.asarray(values, float)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return round(float(x @ y) / size, 4) if size else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    less = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    ranks: np.ndarray = less + (equal - 1) / 2
    return ranks


def separation(run: Run, conditions: Sequence[dict[str, Any]]) -> float | None:
    """How much the selected prompt tells about the degradation, 0 (nothing) to 1 (all).

    Mutual information of degradation and choice over the entropy of the degradation, each seen
    degradation as likely. It asks for no names, so it holds for routers that learned without
    labels; levels of one degradation count as one choice. Of a teacher's sites, that of the one
    that tells most.
    """
    table: dict[str, list[np.ndarray]] = {}
    for condition in conditions:
        selected = np.array(run.figure(condition["label"]).selected)
        if not len(selected):
            return None
        if condition["seen"]:
            by_choice_SC = selected.reshape(run.sites, -1, run.choices).sum(2)
            table.setdefault(condition["degradation"], []).append(by_choice_SC)
    if len(table) < 2:
        return None
    joint_DSC = np.array([np.mean(rows, 0) for rows in table.values()]) / len(table)
    return max(_information(joint_DSC[:, site]) for site in range(run.sites))


def _information(joint_DC: np.ndarray) -> float:
    """Mutual information of rows and columns over the entropy of the (equally likely) rows."""
    independent_DC = joint_DC.sum(1, keepdims=True) * joint_DC.sum(0, keepdims=True)
    some = joint_DC > 0
    information = float((joint_DC[some] * np.log(joint_DC[some] / independent_DC[some])).sum())
    return round(information / math.log(len(joint_DC)), 4)
