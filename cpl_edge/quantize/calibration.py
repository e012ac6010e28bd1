"""Calibration: the degraded crops whose activations decide the ranges of integers.

They show every degradation at the size of the export, and come from photos that no gate looks at:
of a list of photos, every second one calibrates and the others judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cpl_edge.data.degradations import degrade
from cpl_edge.data.patches import list_images, load_images
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student
from cpl_edge.quantize.recipe import CalibrationSet

DOUBT = 0.03
"""Probability of a name from which on a router may come to select it on a photo like this one."""

T = TypeVar("T")
Photo = tuple[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Calibration:
    """Degraded crops, and where they come from.

    Attributes:
        crops: ``x_BCHW`` with B = 1, float RGB in [0, 1], multiples of 1/255.
        clean: what each was.
        degradations: what was done to each.
        photos: names of the photos, each once.
        source: the folder's name, or the package of the bundled photos.
    """

    crops: list[Tensor]
    clean: list[Tensor]
    degradations: list[str]
    photos: list[str]
    source: str

    @property
    def digest(self) -> str:
        """sha256 over the crops as uint8."""
        digest = hashlib.sha256()
        for x_BCHW in self.crops:
            digest.update((x_BCHW * 255).round().to(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def to_card(self) -> dict[str, object]:
        """What a card says about it."""
        return {
            "source": self.source,
            "photos": self.photos,
            "count": len(self.crops),
            "degradations": sorted(set(self.degradations)),
            "digest": self.digest,
        }


def likely(calibration: Calibration, student: Student, degradation: str) -> Calibration:
    """The crops that a router may send to what one degradation owns.

    Those of that degradation, and others that the router is not sure about: it errs with some
    photo, and what restores that one must not have been rounded for other values only.

    Args:
        calibration: crops of all degradations.
        student: whose router it is.
        degradation: one that it knows.
    """
    index = student.config.degradations.index(degradation)
    chosen = []
    with torch.inference_mode():
        for i, x_BCHW in enumerate(calibration.crops):
            names_D = student.names(student.logits(x_BCHW))[0, 0]
            may_be_sent = float(names_D.softmax(-1)[index]) >= DOUBT
            if may_be_sent or calibration.degradations[i] == degradation:
                chosen.append(i)
    return replace(
        calibration,
        crops=[calibration.crops[i] for i in chosen],
        clean=[calibration.clean[i] for i in chosen],
        degradations=[calibration.degradations[i] for i in chosen],
    )


def calibration_half(photos: Sequence[T]) -> list[T]:
    """Every second photo: those that calibrate."""
    return list(photos[1::2])


def judging_half(photos: Sequence[T]) -> list[T]:
    """The other photos: those that gates look at."""
    return list(photos[0::2])


def make_calibration(
    chosen: CalibrationSet,
    known: tuple[str, ...],
    size: tuple[int, int],
    data: Path | None = None,
    judging: bool = False,
) -> Calibration:
    """Cut and degrade the crops of a calibration set, the same ones every time.

    Args:
        chosen: of the recipe.
        known: degradations of the student.
        size: height and width in pixels; smaller photos are mirrored until they fill it.
        data: a folder of photos, or None for the photos that come with scikit-image.
        judging: take the photos that do not calibrate.

    Raises:
        UserError: the folder does not exist, or holds fewer than two images or a damaged one; or
            the recipe names a degradation that the student does not know.
        MissingExtra: no folder given and scikit-image is not installed.
    """
    degradations = known if chosen.degradations is None else chosen.degradations
    if unknown := sorted(set(degradations) - set(known)):
        raise UserError(
            f"the recipe calibrates on {unknown[0]!r}, which the student does not know: "
            f"choose from {', '.join(known)}"
        )
    photos = _read(data, chosen.crops * len(degradations), judging)
    crops, clean, done = [], [], []
    for i in range(chosen.crops):
        for k, degradation in enumerate(degradations):
            _, image_HWC = photos[(i + k) % len(photos)]
            generator = torch.Generator().manual_seed(chosen.seed + i * len(degradations) + k)
            clean_BCHW = cut(image_HWC, size, generator)
            extent = min(1.0, max(size) / max(image_HWC.shape[:2]))
            crops.append(degrade(clean_BCHW, degradation, generator, extent))
            clean.append(clean_BCHW)
            done.append(degradation)
    source = "photos of scikit-image" if data is None else data.resolve().name
    return Calibration(crops, clean, done, [name for name, _ in photos], source)


def cut(
    image_HWC: npt.NDArray[np.uint8], size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """A random crop ``(1, 3, H, W)`` of a photo, mirrored where the photo is too small."""
    height, width = image_HWC.shape[:2]
    missing = [(0, max(0, size[0] - height)), (0, max(0, size[1] - width)), (0, 0)]
    padded_HWC = np.pad(image_HWC, missing, mode="symmetric")
    top, left = (
        int(torch.randint(have - want + 1, (1,), generator=generator))
        for have, want in zip(padded_HWC.shape[:2], size, strict=True)
    )
    crop_HWC = padded_HWC[top : top + size[0], left : left + size[1]]
    return torch.from_numpy(crop_HWC.copy()).permute(2, 0, 1)[None].contiguous().float() / 255


def _read(data: Path | None, most: int, judging: bool) -> list[Photo]:
    if data is None:
        return judging_half(bundled_photos()) if judging else calibration_half(bundled_photos())
    found = list(list_images([data]))
    files = judging_half(found) if judging else calibration_half(found)
    if not files:
        raise UserError(
            f"{data} holds one image: calibration needs two or more, since every second one "
            "calibrates and the others judge"
        )
    files = files[:: max(1, len(files) // most)][:most]  # spread over the folder
    return [(path.name, image) for path, image in zip(files, load_images(files), strict=True)]
