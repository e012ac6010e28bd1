"""Run a suite through a model: one row an image, one line a degradation."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cpl_edge.errors import UserError
from cpl_edge.evaluate.metrics import FloatImage, psnr, ssim
from cpl_edge.evaluate.samples import Image, Sample
from cpl_edge.evaluate.suites import Suite

AUTO, ORACLE = "auto", "oracle"


class Restore(Protocol):
    """A model that restores a whole photo."""

    def __call__(
        self, x_HWC: FloatImage, degradation: str | None
    ) -> tuple[FloatImage, str | None]:
        """Restore one photo.

        Args:
            x_HWC: degraded float32 RGB in [0, 1].
            degradation: which one it is; None lets the model select.

        Returns:
            The restored photo, same shape, clipped or not, and the degradation that was
            selected (None where the model does not tell).
        """
        ...


@dataclass(frozen=True)
class Row:
    """What one image gave.

    Attributes:
        image: its name.
        label: the suite's heading for the degradation.
        degradation: what was applied.
        selected: what the model took it for; None where it does not tell.
        psnr_before: decibels of the degraded image.
        psnr_after: decibels of the restored image.
        ssim_before: None where the suite does not ask for it.
        ssim_after: None where the suite does not ask for it.
        seconds: wall time of restoring, reading and measuring not counted.
        pixels: size of the image.
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
        psnr_before: mean of the degraded images in decibels.
        psnr_after: mean of the restored images.
        gain: mean gain in decibels.
        ssim_before: None where the suite does not ask for it.
        ssim_after: None where the suite does not ask for it.
        worst_image: the image with the smallest gain.
        worst_gain: its gain in decibels.
        routed: share of images whose degradation the model selected by itself; None where it was
            told, or knows no such degradation.
        ms_per_megapixel: milliseconds of restoring per million pixels.
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
    routed: float | None
    ms_per_megapixel: float


def forced_degradation(choice: str, applied: str, known: Sequence[str]) -> str | None:
    """What a model is told about an image.

    Args:
        choice: ``"auto"``, ``"oracle"`` or a degradation.
        applied: the degradation of the image.
        known: what the model knows.

    Returns:
        The degradation to pin, or None where the model selects.

    Raises:
        UserError: the model does not know it.
    """
    if choice == AUTO:
        return None
    forced = applied if choice == ORACLE else choice
    if forced not in known:
        raise UserError(
            f"the model knows no degradation {forced!r}: use --degradation {AUTO} or one of "
            f"{', '.join(known)}"
        )
    return forced


def measure(sample: Sample, suite: Suite, restore: Restore, forced: str | None) -> Row:
    """Degrade, restore and measure one image.

    Args:
        sample: the image.
        suite: says how to crop and what to measure.
        restore: the model.
        forced: degradation that the model is told, or None.
    """
    degraded, clean = (_as_float(image) for image in sample.load(suite.crop_multiple))
    start = time.perf_counter()
    output, selected = restore(degraded, forced)
    seconds = time.perf_counter() - start
    assert output.shape == clean.shape, (output.shape, clean.shape)
    restored = np.clip(output.astype(np.float32), 0, 1)
    with_ssim = "ssim" in suite.metrics
    return Row(
        image=sample.name,
        label=sample.degradation.label,
        degradation=sample.degradation.degradation,
        selected=selected,
        psnr_before=psnr(degraded, clean),
        psnr_after=psnr(restored, clean),
        ssim_before=ssim(degraded, clean) if with_ssim else None,
        ssim_after=ssim(restored, clean) if with_ssim else None,
        seconds=seconds,
        pixels=clean.shape[0] * clean.shape[1],
    )


def summarise(rows: Iterable[Row], known: Sequence[str], choice: str = AUTO) -> list[Summary]:
    """Means by degradation, in the order in which the labels first appear.

    Args:
        rows: of one suite.
        known: degradations that the model knows.
        choice: what the model was told: only ``"auto"`` leaves it a selection to judge.
    """
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    summaries = []
    for label, group in by_label.items():
        worst = min(group, key=lambda row: row.gain)
        applied = group[0].degradation
        judged = choice == AUTO and applied in known and all(row.selected for row in group)
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
                routed=_mean([row.selected == applied for row in group]) if judged else None,
                ms_per_megapixel=1e9
                * math.fsum(row.seconds for row in group)
                / sum(row.pixels for row in group),
            )
        )
    return summaries


def _as_float(image_HWC: Image) -> FloatImage:
    return image_HWC.astype(np.float32) / 255


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return _mean(present) if present else None
