"""The held-out crops of a search, degraded once with fixed seeds, and what a student does to them.

Every candidate sees the same pixels. Wrong prompts are the next ones in the order of those that
are chosen among: they stand for any others, and are the same for every student of a form.

Legend: B crops, D degradations, M levels, N prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cpl_edge.data.degradations import add_noise, degrade
from cpl_edge.data.patches import list_images, load_images
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student
from cpl_edge.search.candidates import Condition
from cpl_edge.search.results import Figures

_BATCH = 10


@dataclass(frozen=True)
class Crops:
    """The crops of one condition: ``x_BCHW`` degraded, ``y_BCHW`` clean, float RGB in [0, 1]."""

    condition: Condition
    x_BCHW: Tensor
    y_BCHW: Tensor

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Both, a few at a time."""
        for start in range(0, len(self.x_BCHW), _BATCH):
            yield self.x_BCHW[start : start + _BATCH], self.y_BCHW[start : start + _BATCH]


def make_crops(
    conditions: Sequence[Condition],
    images_HWC: Sequence[np.ndarray],
    side: int,
    data: Path | None = None,
) -> list[Crops]:
    """Cut the middle of each image, and degrade it in every way.

    Args:
        conditions: ways to degrade.
        images_HWC: clean uint8 RGB images; the degradation's seed is the place among them.
        side: of the crops in pixels.
        data: folder that holds the folders of conditions with real pairs.

    Raises:
        UserError: an image is smaller than a crop, or a pair's folder is missing or does not fit.
    """
    clean_BCHW = _middles(images_HWC, side)
    made = []
    for condition in conditions:
        if condition.input is not None and condition.target is not None:
            assert data is not None
            made.append(_pairs(condition, data, side, len(images_HWC)))
            continue
        degraded = []
        for seed, image_CHW in enumerate(clean_BCHW):
            generator = torch.Generator().manual_seed(seed)
            degraded.append(_degrade(image_CHW[None], condition, generator))
        made.append(Crops(condition, torch.cat(degraded), clean_BCHW))
    return made


def _degrade(x_BCHW: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
    if condition.sigma is None:
        return degrade(x_BCHW, condition.degradation, generator)
    noisy = add_noise(x_BCHW, condition.sigma, generator)
    return (noisy.clamp(0, 1) * 255).round() / 255


def _middles(images_HWC: Sequence[np.ndarray], side: int) -> Tensor:
    crops = []
    for image_HWC in images_HWC:
        h, w = image_HWC.shape[:2]
        if min(h, w) < side:
            raise UserError(f"a held-out image of {w}x{h} pixels is smaller than side = {side}")
        top, left = (h - side) // 2, (w - side) // 2
        crops.append(torch.from_numpy(image_HWC[top : top + side, left : left + side].copy()))
    return torch.stack(crops).permute(0, 3, 1, 2).float().contiguous() / 255


def _pairs(condition: Condition, data: Path, side: int, most: int) -> Crops:
    assert condition.input is not None
    assert condition.target is not None
    targets = list_images([data / condition.target])[:most]
    inputs = [data / condition.input / path.name for path in targets]
    if missing := [path for path in inputs if not path.is_file()]:
        raise UserError(f"{missing[0]} is missing: pairs must have equal names in both folders")
    return Crops(
        condition, _middles(load_images(inputs), side), _middles(load_images(targets), side)
    )


@torch.no_grad()
def measure(student: Student, crops: Crops, named: bool = True, routes: bool = True) -> Figures:
    """Restore all crops of a condition: by the student's own routing, and told what is wrong.

    Args:
        student: in evaluation mode.
        crops: of one condition.
        named: whether the student's router learned names of degradations.
        routes: whether it learned anything.
    """
    kinds, levels = student.config.degradations, student.config.levels
    kind = crops.condition.degradation
    index = kinds.index(kind) if kind in kinds else None
    forced = student.config.prompt == "levels"
    figures: dict[str, list[Tensor]] = {
        "input": [], "routed": [], "told": [], "best": [], "wrong": []
    }  # fmt: skip
    weights, right = [], []
    for x_BCHW, y_BCHW in crops.batches():
        logits_BSL = student.logits(x_BCHW)
        w_BSN = student.select(logits_BSL)
        figures["input"].append(psnr(x_BCHW, y_BCHW))
        if routes:
            figures["routed"].append(psnr(student.restore(x_BCHW, w_BSN), y_BCHW))
        if forced:
            of_D = [
                _told(student, x_BCHW, y_BCHW, logits_BSL, d)
                for d in ([index] if index is not None else range(len(kinds)))
            ]
            figures["told" if index is not None else "best"].append(torch.stack(of_D).amax(0))
        if forced and index is not None:
            wrong = (index + 1) % len(kinds)
            figures["wrong"].append(_told(student, x_BCHW, y_BCHW, logits_BSL, wrong))
        elif student.config.prompt == "sparse":
            restored = student.restore(x_BCHW, w_BSN.roll(1, -1))
            figures["wrong"].append(psnr(restored, y_BCHW))
        w_BN = w_BSN[:, 0]
        if student.config.prompts and routes:
            weights.append(w_BN / w_BN.sum(1, keepdim=True))
            if named and index is not None:
                right.append((w_BN.argmax(1) // levels == index).float())
    w_BN = torch.cat(weights) if weights else torch.zeros(len(crops.x_BCHW), 0)
    selected_N = (
        w_BN.argmax(1).bincount(minlength=w_BN.shape[1]) / len(w_BN) if weights else w_BN[0]
    )
    mean = {name: mean_of(parts, 3) for name, parts in figures.items()}
    assert mean["input"] is not None
    return Figures(
        condition=crops.condition.label,
        input=mean["input"],
        routed=mean["routed"],
        told=mean["told"],
        best=mean["best"],
        wrong=mean["wrong"],
        right=mean_of(right, 4),
        selected=rounded(selected_N),
        weights=rounded(w_BN.mean(0)),
    )


def _told(
    student: Student, x_BCHW: Tensor, y_BCHW: Tensor, logits_BSL: Tensor, degradation: int
) -> Tensor:
    label_B = torch.full((len(x_BCHW),), degradation)
    return psnr(student.restore(x_BCHW, student.forced(logits_BSL, label_B)), y_BCHW)


def psnr(x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
    """PSNR ``psnr_B`` in dB for data range 1, x clipped to [0, 1]."""
    error_B = (x_BCHW.clamp(0, 1) - y_BCHW).square().mean((1, 2, 3))
    return -10 * error_B.clamp(min=1e-10).log10()


def mean_of(parts: list[Tensor], digits: int) -> float | None:
    """Mean of all values of ``parts_B``, rounded; None of none."""
    return round(float(torch.cat(parts).mean()), digits) if parts else None


def rounded(values_N: Tensor) -> tuple[float, ...]:
    """Shares as they are written."""
    return tuple(round(float(value), 4) for value in values_N)
