"""Training batches from a bank: pairs of crops and synthetic degradations, mixed by weights.

:class:`PairBank` answers the same call as :class:`cpl_edge.data.patches.ImageBank`, so a training
loop takes either. All randomness comes from the caller's generator: with its state in a checkpoint
a resumed training sees the very crops that an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from cpl_edge.data.bank import Bank
from cpl_edge.data.crops import draw, window_index
from cpl_edge.data.degradations import degrade
from cpl_edge.data.mio import MIO
from cpl_edge.data.pairing import Item
from cpl_edge.errors import UserError


class PairBank:
    """Items of a bank, from which batches are gathered.

    An item is drawn with a probability proportional to its repeats; with ``weights``, a task is
    drawn by its weight, and an item within it as before. Drawing is with replacement: on average
    as in an epoch of the repeated list, which is ``samples`` long.

    Args:
        bank: holds all images of the items.
        items: what to train on, e.g. :func:`cpl_edge.data.pairing.training_items`.
        device: where batches are made.
        weights: share of each task, of any scale; tasks that are left out are not drawn.
        resident: copy the bank's pixels to the device; otherwise they stay mapped from the disk,
            and only crops are copied.

    Attributes:
        tasks: tasks of the items, in their order.
        samples: items times their repeats: an epoch.

    Raises:
        UserError: no items, an image that the bank lacks, two images of a pair that differ in
            size, or wrong weights.
    """

    def __init__(
        self,
        bank: Bank,
        items: Sequence[Item],
        device: torch.device | str = "cpu",
        weights: Mapping[str, float] | None = None,
        resident: bool = True,
    ) -> None:
        if not items:
            raise UserError("there is nothing to train on: give a layout with training images")
        self.bank, self.device = bank, torch.device(device)
        self.tasks = tuple(dict.fromkeys(item.task for item in items))
        self.samples = sum(item.repeats for item in items)
        # Items that differ only in their images form a group: drawing one of few groups and then
        # an image keeps probabilities exact for any number of images.
        self.groups = list(dict.fromkeys(map(_group, items)))
        items = sorted(items, key=lambda item: self.groups.index(_group(item)))
        counts = [sum(_group(item) == group for item in items) for group in self.groups]
        clean = [bank.place(item.clean) for item in items]
        degraded = [bank.place(item.degraded or item.clean) for item in items]
        sizes = torch.tensor([(e.height, e.width) for e in bank.entries])
        odd = (sizes[clean] != sizes[degraded]).any(1).nonzero()
        if len(odd):
            item = items[int(odd[0])]
            raise UserError(f"{item.degraded} and {item.clean} differ in size: mend or remove them")
        smallest = int(sizes[clean].amin(1).argmin())
        self.smallest = (int(sizes[clean[smallest]].min()), items[smallest].clean)
        made = [place for place, item in zip(clean, items, strict=True) if item.synthesis]
        self.typical_side = float(sizes[made or clean].double().mean())

        offsets = torch.tensor([entry.offset for entry in bank.entries])
        self.sizes = sizes[clean].to(self.device)
        self.offsets = torch.stack((offsets[degraded], offsets[clean])).to(self.device)
        self.counts = torch.tensor(counts, device=self.device)
        self.firsts = self.counts.cumsum(0) - self.counts
        shares = torch.tensor(self._shares(counts, weights), dtype=torch.float64)
        self.cumulative = (shares / shares.sum()).cumsum(0).to(self.device)
        self.pixels = torch.from_numpy(np.asarray(bank.pixels))
        if resident:
            self.pixels = self.pixels.to(self.device)

    def _shares(self, counts: list[int], weights: Mapping[str, float] | None) -> list[float]:
        shares = [
            float(count * repeats)
            for count, (_, _, repeats) in zip(counts, self.groups, strict=True)
        ]
        if weights is None:
            return shares
        unknown = sorted(set(weights) - set(self.tasks))
        if unknown:
            raise UserError(f"no task {unknown[0]!r} to weigh; there are {', '.join(self.tasks)}")
        if min(weights.values(), default=0) < 0 or not any(weights.values()):
            raise UserError("weights must not be negative, and one must be positive")
        totals = dict.fromkeys(self.tasks, 0.0)
        for share, (task, _, _) in zip(shares, self.groups, strict=True):
            totals[task] += share
        return [
            share / totals[task] * weights.get(task, 0.0)
            for share, (task, _, _) in zip(shares, self.groups, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.sizes)

    def crops(self, count: int, size: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Cut the same random crop from both images of random items, flipped and transposed alike.

        Args:
            count: number of crops B.
            size: side of a crop in pixels.
            generator: on the device.

        Returns:
            Degraded ``x_BCHW`` (for a synthesis still the clean crop) and clean ``y_BCHW``, float
            RGB in [0, 1] in channels-last memory, and ``group_B``, the position in ``groups``.

        Raises:
            UserError: an image is smaller than the crop.
        """
        side, name = self.smallest
        if side < size:
            raise UserError(f"crops of {size} do not fit {name}, whose shorter side is {side}")
        device = self.device

        fractions = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        group_B = torch.searchsorted(self.cumulative, fractions, right=True)
        group_B = group_B.clamp_max(len(self.groups) - 1)  # the last sum may be 1 - 1e-16
        item_B = self.firsts[group_B] + draw(self.counts[group_B], generator)
        index_BHW = window_index(self.sizes[item_B], size, generator)
        index_2BHW = (index_BHW + self.offsets[:, item_B, None, None]).to(self.pixels.device)
        crops_2BHWC = self.pixels[index_2BHW].to(device).float() / 255
        x_BCHW, y_BCHW = crops_2BHWC.permute(0, 1, 4, 2, 3).unbind()
        return x_BCHW, y_BCHW, group_B

    def degraded(
        self, kinds: Sequence[str], count: int, size: int, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A training batch.

        Args:
            kinds: the network's degradations; must contain every task.
            count: number of crops B.
            size: side of a crop in pixels.
            generator: on the device.

        Returns:
            Degraded ``x_BCHW``, clean ``y_BCHW``, and ``label_B``, the task's position in
            ``kinds``.

        Raises:
            UserError: a task that is not in ``kinds``, or an image smaller than the crop.
        """
        missing = [task for task in self.tasks if task not in kinds]
        if missing:
            raise UserError(f"the network knows no {missing[0]!r}, only {', '.join(kinds)}")
        x_BCHW, y_BCHW, group_B = self.crops(count, size, generator)
        # Mostly the crop's true share of a photo, sometimes more, as in ImageBank.
        share = min(1.0, size / self.typical_side)
        wider = float(torch.rand((), generator=generator, device=self.device)) ** 2
        extent = share + (1 - share) * wider
        for index, (_, synthesis, _) in enumerate(self.groups):
            mine = group_B == index
            if synthesis and mine.any():
                x_BCHW[mine] = synthesise(y_BCHW[mine], synthesis, generator, extent)
        labels = torch.tensor([kinds.index(task) for task, _, _ in self.groups], device=self.device)
        return x_BCHW, y_BCHW, labels[group_B]


def synthesise(x_BCHW: Tensor, kind: str, generator: Generator, extent: float = 1.0) -> Tensor:
    """Degrade by :data:`cpl_edge.data.mio.MIO` or :func:`cpl_edge.data.degradations.degrade`.

    Returns:
        Images of the same shape, clipped to [0, 1] and rounded to multiples of 1/255.

    Raises:
        UserError: ``kind`` names no degradation.
    """
    if kind not in MIO:
        return degrade(x_BCHW, kind, generator, extent)
    return (MIO[kind](x_BCHW, generator, extent).clamp(0, 1) * 255).round() / 255


def _group(item: Item) -> tuple[str, str, int]:
    return item.task, item.synthesis, item.repeats
