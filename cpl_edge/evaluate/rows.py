"""What one image gave, and what one degradation gave."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cpl_edge.evaluate.degraded import Image
from cpl_edge.evaluate.metrics import FloatImage, luma, psnr, ssim, without_border
from cpl_edge.evaluate.samples import Sample
from cpl_edge.evaluate.suites import Suite
from cpl_edge.restore.outcome import Restored
from cpl_edge.restore.restorer import AUTO

Distance = Callable[[FloatImage, FloatImage], float]
"""Of two float32 RGB images in [0, 1]: :class:`cpl_edge.evaluate.perceptual.Lpips`."""


class Restores(Protocol):
    """What this module needs of :class:`cpl_edge.restore.restorer.Restorer`."""

    def restore_float(self, image_HWC: FloatImage, degradation: str = AUTO) -> Restored:
        """Restore one float32 photo in [0, 1] without rounding."""
        ...


@dataclass(frozen=True)
class Row:
    """What one image gave.

    Attributes:
        image: its name.
        label: the suite's heading for the degradation.
        degradation: what was applied.
        selected: what the model took it for, at first; None where it does not tell.
        psnr_before: decibels of the degraded image; infinity where nothing is wrong with it.
        psnr_after: decibels of the restored image.
        ssim_before: None where the suite does not ask for it.
        ssim_after: None where the suite does not ask for it.
        seconds: wall time of restoring, routing included; reading and measuring not counted.
        pixels: size of the image.
        then: what later passes took it for.
        lpips_before: LPIPS of the degraded image; None where it was not asked for.
        lpips_after: LPIPS of the restored image; None where it was not asked for.
    """

    image: str
    label: str
    degradation: str
    selected: str | None
    psnr_before: float
    psnr_after: float
    ssim_before: float | None
    ssim_after: float | None
    seconds: float
    pixels: int
    then: tuple[str, ...] = ()
    lpips_before: float | None = None
    lpips_after: float | None = None

    @property
    def gain(self) -> float:
        """PSNR after minus before; negative where restoring did harm."""
        # Equal infinities (nothing degraded, nothing done) are no gain rather than no number.
        return 0.0 if self.psnr_after == self.psnr_before else self.psnr_after - self.psnr_before


@dataclass(frozen=True)
class Summary:
    """What one degradation gave: means over images, and the image that gained least.

    Attributes:
        label: the suite's heading.
        degradation: what was applied.
        images: how many.
        psnr_before: mean of the degraded images in decibels; infinity where nothing was wrong.
        psnr_after: mean of the restored images.
        gain: mean gain in decibels.
        ssim_before: None where the suite does not ask for it.
        ssim_after: None where the suite does not ask for it.
        worst_image: the image with the smallest gain.
        worst_gain: its gain in decibels.
        worst_psnr: its PSNR after restoring.
        routed: share of images whose degradation the model selected by itself; None where it was
            told, or knows no such degradation.
        selected: images by the degradation that the model took them for, most first; empty where
            it does not tell.
        ms_per_megapixel: milliseconds of restoring per million pixels.
        lpips_before: mean LPIPS of the degraded images; None where it was not asked for.
        lpips_after: mean LPIPS of the restored images; None where it was not asked for.
    """

    label: str
    degradation: str
    images: int
    psnr_before: float
    psnr_after: float
    gain: float
    ssim_before: float | None
    ssim_after: float | None
    worst_image: str
    worst_gain: float
    worst_psnr: float
    routed: float | None
    selected: dict[str, int]
    ms_per_megapixel: float
    lpips_before: float | None = None
    lpips_after: float | None = None


def measure(
    sample: Sample,
    suite: Suite,
    model: Restores,
    degradation: str = AUTO,
    lpips: Distance | None = None,
) -> Row:
    """Degrade, restore and measure one image.

    Args:
        sample: the image.
        suite: says how to crop, what to measure and by which convention.
        model: an opened model.
        degradation: what the model is told (see :func:`cpl_edge.evaluate.run.told`).
        lpips: measures LPIPS too; in RGB, whatever channels the suite compares.
    """
    degraded, clean = (_as_float(image) for image in sample.load(suite.crop_multiple))
    result = model.restore_float(degraded, degradation)
    restored = np.clip(result.image_HWC.astype(np.float32, copy=False), 0, 1)
    size = clean.shape
    degraded, clean, restored = (_compared(x, suite) for x in (degraded, clean, restored))
    lpips_before = lpips(degraded, clean) if lpips else None
    lpips_after = lpips(restored, clean) if lpips else None
    if suite.channels == "y":
        degraded, clean, restored = luma(degraded), luma(clean), luma(restored)
    with_ssim = "ssim" in suite.metrics
    return Row(
        image=sample.name,
        label=sample.degradation.label,
        degradation=sample.degradation.degradation,
        selected=result.degradation,
        psnr_before=psnr(degraded, clean),
        psnr_after=psnr(restored, clean),
        ssim_before=ssim(degraded, clean, suite.ssim_window) if with_ssim else None,
        ssim_after=ssim(restored, clean, suite.ssim_window) if with_ssim else None,
        seconds=result.seconds.total,
        pixels=size[0] * size[1],
        then=result.then,
        lpips_before=lpips_before,
        lpips_after=lpips_after,
    )


def summarise(rows: Iterable[Row], routed: Sequence[str]) -> list[Summary]:
    """Means by degradation, in the order in which the labels first appear.

    Args:
        rows: of one suite.
        routed: degradations that the model chose among; none where it was told.
    """
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    summaries = []
    for label, group in by_label.items():
        worst = min(group, key=lambda row: (row.gain, row.psnr_after))
        selected = Counter(row.selected for row in group if row.selected)
        applied = group[0].degradation
        judged = applied in routed and all(row.selected for row in group)
        summaries.append(
            Summary(
                label=label,
                degradation=applied,
                images=len(group),
                psnr_before=_mean([row.psnr_before for row in group]),
                psnr_after=_mean([row.psnr_after for row in group]),
                gain=_mean([row.gain for row in group]),
                ssim_before=_mean_or_none([row.ssim_before for row in group]),
                ssim_after=_mean_or_none([row.ssim_after for row in group]),
                worst_image=worst.image,
                worst_gain=worst.gain,
                worst_psnr=worst.psnr_after,
                routed=_mean([row.selected == applied for row in group]) if judged else None,
                selected=dict(selected.most_common()),
                ms_per_megapixel=1e9
                * math.fsum(row.seconds for row in group)
                / sum(row.pixels for row in group),
                lpips_before=_mean_or_none([row.lpips_before for row in group]),
                lpips_after=_mean_or_none([row.lpips_after for row in group]),
            )
        )
    return summaries


def _compared(x_HWC: FloatImage, suite: Suite) -> FloatImage:
    """What of an RGB image the suite compares: see the keys of :class:`Suite`."""
    if suite.rounded:
        x_HWC = np.rint(x_HWC * np.float32(255)) / np.float32(255)
    return without_border(x_HWC, suite.border)


def _as_float(image_HWC: Image) -> FloatImage:
    return image_HWC.astype(np.float32) / np.float32(255)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return _mean(present) if present else None
