"""The prompt report: which prompts are selected for which degradation, and whether it matters.

1. Every image of a suite is restored as the network's own routers say: how often each prompt is
   selected, how much it weighs, how sure the router is, and how much the selection tells about
   the degradation (1 number: collapse or separation).
2. Every image is restored again with the prompts of every degradation in turn. Where the prompts
   have specialised, those of the right degradation win: the diagonal of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cpl_edge.cli import track
from cpl_edge.evaluate import prompts_statistics as statistics
from cpl_edge.evaluate.prompts_networks import Looks, Network, open_network
from cpl_edge.evaluate.prompts_statistics import Floats
from cpl_edge.evaluate.samples import Sample, available, find_samples
from cpl_edge.evaluate.suites import Suite, load_suite


@dataclass(frozen=True)
class SiteReport:
    """One prompt site. Rows D are the suite's labels, columns G what the router chooses among.

    Attributes:
        name: of the site.
        choices: names of the columns.
        share_DG: share of images for which a choice weighed most.
        weight_DG: mean weights.
        levels_DM: mean levels of a student's pinned choice; empty for a teacher.
        entropy_D: mean entropy of the router's probabilities in bits: 0 is certain.
        usage_entropy: entropy of all selections in bits: 0 is one prompt for everything.
        information: mutual information of selection and degradation in bits.
        chance: what chance alone would show of it.
        separation: see :func:`cpl_edge.evaluate.prompts_statistics.separation`.
        pinned_D: the choice selected most often for each label.
    """

    name: str
    choices: tuple[str, ...]
    share_DG: list[list[float]]
    weight_DG: list[list[float]]
    levels_DM: list[list[float]]
    entropy_D: list[float]
    usage_entropy: float
    information: float
    chance: float
    separation: float
    pinned_D: list[str]


@dataclass(frozen=True)
class ForcedReport:
    """PSNR in decibels when prompts are forced. Rows D are labels, columns C the forced prompts.

    Attributes:
        columns: whose prompts were forced.
        before_D: of the degraded images.
        routed_D: as the routers chose.
        forced_DC: with the prompts of a column.
        own_D: for each label the column of its own prompts; None where none are its own.
        margin_D: own column minus the best other one; None as above.
        cost_D: own column minus the mean of the others: what a wrong prompt costs.
        wins: labels whose own column is the best one.
    """

    columns: tuple[str, ...]
    before_D: list[float]
    routed_D: list[float]
    forced_DC: list[list[float]]
    own_D: list[int | None]
    margin_D: list[float | None]
    cost_D: list[float | None]
    wins: int

    @property
    def judged(self) -> int:
        """Labels that have prompts of their own."""
        return sum(own is not None for own in self.own_D)


@dataclass(frozen=True)
class PromptReport:
    """Everything about one network on one suite.

    Attributes:
        model: file name.
        kind: ``"student"`` or ``"teacher"``.
        suite: what was measured.
        notes: where the suite had to be changed for the images at hand.
        labels: rows of all tables.
        images: how many each label had.
        sites: prompt sites in the order they run.
        forced: what forcing prompts does.
    """

    model: str
    kind: str
    suite: Suite
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    images: list[int]
    sites: tuple[SiteReport, ...]
    forced: ForcedReport


@dataclass(frozen=True)
class _Seen:
    sample: Sample
    looks: Looks
    before: float
    routed: float


def report_prompts(
    model: str, suite: str, data: Path | None = None, limit: int = 0, threads: int = 1
) -> PromptReport:
    """Make the report, with a progress bar, on a GPU where there is one.

    Args:
        model: name of a shipped student, or a student's or teacher's ``.safetensors`` file.
        suite: name of a shipped suite, or a TOML file.
        data: folder with the suite's images; None asks the variable ``CPL_EDGE_DATA``.
        limit: only the first images by name; 0 leaves it to the suite.
        threads: torch's threads, which belong to the process.

    Raises:
        UserError: a mistake in any of these, in one line.
    """
    chosen, notes = available(load_suite(suite), data)
    samples = find_samples(chosen, data, limit)
    torch.set_num_threads(threads)
    network = open_network(model)
    multiple = math.lcm(chosen.crop_multiple, network.multiple)
    labels = tuple(d.label for d in chosen.degradations)
    with torch.inference_mode():
        seen = [_look(network, sample, multiple) for sample in track(samples, "routed")]
        groups = {
            label: [s for s in seen if s.sample.degradation.label == label] for label in labels
        }
        targets = network.targets({k: [s.looks for s in v] for k, v in groups.items()})
        psnr_IC = [
            _force(network, one, list(targets.values()), multiple) for one in track(seen, "forced")
        ]
    own = [_own(d.label, d.degradation, list(targets)) for d in chosen.degradations]
    by_image = {id(one): row for one, row in zip(seen, psnr_IC, strict=True)}
    forced_DC = np.array([np.mean([by_image[id(s)] for s in g], 0) for g in groups.values()])
    return PromptReport(
        network.name,
        network.kind,
        chosen,
        notes,
        labels,
        [len(group) for group in groups.values()],
        tuple(_site(network, i, list(groups.values())) for i in range(len(network.sites))),
        judge_forced(
            tuple(targets),
            [_mean(s.before for s in group) for group in groups.values()],
            [_mean(s.routed for s in group) for group in groups.values()],
            forced_DC,
            own,
        ),
    )


def judge_forced(
    columns: tuple[str, ...],
    before_D: list[float],
    routed_D: list[float],
    forced_DC: Floats,
    own_D: list[int | None],
) -> ForcedReport:
    """Compare every label's own column with the others."""
    margins: list[float | None] = []
    costs: list[float | None] = []
    for row_C, own in zip(forced_DC, own_D, strict=True):
        others = np.delete(row_C, own) if own is not None else row_C[:0]
        judged = own is not None and len(others) > 0
        margins.append(float(row_C[own] - others.max()) if judged else None)
        costs.append(float(row_C[own] - others.mean()) if judged else None)
    # Two degradations with the same prompts tie, to the last bit: that is no win.
    wins = sum(margin is not None and margin > 0 for margin in margins)
    return ForcedReport(
        columns, before_D, routed_D, forced_DC.tolist(), own_D, margins, costs, wins
    )


def _own(label: str, degradation: str, columns: list[str]) -> int | None:
    """A teacher's columns are the suite's labels, a student's are the degradations it knows."""
    for name in (label, degradation):
        if name in columns:
            return columns.index(name)
    return None


def _look(network: Network, sample: Sample, multiple: int) -> _Seen:
    degraded, clean = _load(sample, multiple)
    restored, looks = network.restore(degraded)
    return _Seen(sample, looks, _psnr(degraded, clean), _psnr(restored, clean))


def _force(network: Network, seen: _Seen, targets: list[object], multiple: int) -> list[float]:
    degraded, clean = _load(seen.sample, multiple)
    return [_psnr(network.forced(degraded, seen.looks, target), clean) for target in targets]


def _site(network: Network, site: int, groups: Sequence[Sequence[_Seen]]) -> SiteReport:
    choices = network.choices[site]
    looks = [[one.looks[site] for one in group] for group in groups]
    chosen = [[int(look.by_choice.argmax()) for look in group] for group in looks]
    labels_I = [d for d, group in enumerate(chosen) for _ in group]
    chosen_I = [choice for group in chosen for choice in group]
    shape = (len(groups), len(choices))
    table = statistics.counts(labels_I, chosen_I, shape)
    pinned = table.argmax(1)
    levels = [
        [look.levels_GM[g] for look in group if look.levels_GM is not None]
        for group, g in zip(looks, pinned, strict=True)
    ]
    return SiteReport(
        name=network.sites[site],
        choices=choices,
        share_DG=(table / table.sum(1, keepdims=True)).tolist(),
        weight_DG=[np.mean([look.by_choice for look in group], 0).tolist() for group in looks],
        levels_DM=[np.mean(group, 0).tolist() for group in levels if group],
        entropy_D=[_mean(float(statistics.entropy(k.p_G)) for k in group) for group in looks],
        usage_entropy=float(statistics.entropy(table.sum(0) / table.sum())),
        information=statistics.mutual_information(table),
        chance=statistics.by_chance(labels_I, chosen_I, shape),
        separation=statistics.separation(labels_I, chosen_I, shape),
        pinned_D=[choices[g] for g in pinned],
    )


def _load(sample: Sample, multiple: int) -> tuple[Tensor, Tensor]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    degraded, clean = (
        torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255)).contiguous().to(device)
        for image in sample.load(multiple)
    )
    return degraded, clean


def _psnr(x: Tensor, y: Tensor) -> float:
    error = float((x.clamp(0, 1) - y).double().square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
