"""The crops that gates look at: real photos, degraded in every way that the student knows."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cpl_edge.data.degradations import degrade
from cpl_edge.data.patches import list_images, load_images
from cpl_edge.data.photos import bundled_photos
from cpl_edge.quantize.calibration import cut, judging_half

LEAST = 16  # crops in all, so a pinned build has as many of its own degradation
LEAST_EACH = 4  # crops of each degradation


@dataclass(frozen=True)
class Crop:
    """A degraded crop and what it was; ``(1, 3, H, W)``, RGB in [0, 1], multiples of 1/255."""

    photo: str
    degradation: str
    x_BCHW: Tensor
    clean_BCHW: Tensor


def make_crops(
    degradations: tuple[str, ...],
    size: tuple[int, int],
    data: Path | None = None,
    held_out: bool = False,
) -> list[Crop]:
    """Cut and degrade crops, the same ones every time.

    Args:
        degradations: names for :func:`cpl_edge.data.degradations.degrade`.
        size: height and width in pixels; smaller photos are mirrored until they fill it.
        data: a folder of photos, or None for the photos that come with scikit-image.
        held_out: leave out the photos that calibrate quantised builds.

    Returns:
        At least 16 crops, at least 4 of each degradation.

    Raises:
        UserError: the folder does not exist, holds no images or a damaged one, or there is no such
            degradation.
        MissingExtra: no folder given and scikit-image is not installed.
    """
    each = max(LEAST_EACH, math.ceil(LEAST / len(degradations)))
    photos = _read_photos(data, each * len(degradations), held_out)
    crops = []
    for i, degradation in enumerate(degradations * each):
        # Shifted once all pairs repeat: five photos would meet one of five degradations each.
        shift = i // math.lcm(len(degradations), len(photos))
        name, image_HWC = photos[(i + shift) % len(photos)]
        generator = torch.Generator().manual_seed(i)
        clean_BCHW = cut(image_HWC, size, generator)
        extent = min(1.0, max(size) / max(image_HWC.shape[:2]))
        x_BCHW = degrade(clean_BCHW, degradation, generator, extent)
        crops.append(Crop(name, degradation, x_BCHW, clean_BCHW))
    return crops


def crops_digest(crops: list[Crop]) -> str:
    """sha256 over the degraded crops as uint8: two cards with the same one compare."""
    digest = hashlib.sha256()
    for crop in crops:
        digest.update((crop.x_BCHW * 255).round().to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_photos(
    data: Path | None, most: int, held_out: bool
) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    if data is None:
        return judging_half(bundled_photos()) if held_out else bundled_photos()
    files = list(list_images([data]))
    files = judging_half(files) if held_out else files
    files = files[:: max(1, len(files) // most)][:most]  # spread over the folder
    return [(path.name, image) for path, image in zip(files, load_images(files), strict=True)]
