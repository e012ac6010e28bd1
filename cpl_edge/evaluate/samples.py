"""The images of a suite: found and paired before anything runs, read and degraded one by one.

Randomness is seeded by the image's name alone, so that a figure does not depend on the order, on
``--limit`` or on which other degradations a suite has.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpl_edge.data.images import is_image, read_photo
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import ImageError, UserError, require
from cpl_edge.evaluate.metrics import crop_to_multiple
from cpl_edge.evaluate.suites import BUNDLED, Degradation, Gaussian, Pairs, Suite, Synthetic

Image = npt.NDArray[np.uint8]
DATA_VARIABLE = "CPL_EDGE_DATA"


@dataclass(frozen=True)
class Sample:
    """One image of a suite under one degradation, not read yet.

    Attributes:
        name: file name without its suffix; seeds the degradation.
        degradation: the entry of the suite.
        clean: file, or ``image_HWC`` (uint8 RGB) of a bundled photo.
        degraded: file of a pair; None where the degradation is made here.
    """

    name: str
    degradation: Degradation
    clean: Path | Image
    degraded: Path | None = None

    def load(self, crop_multiple: int) -> tuple[Image, Image]:
        """Read, crop and degrade.

        Args:
            crop_multiple: see :func:`~cpl_edge.evaluate.metrics.crop_to_multiple`.

        Returns:
            The degraded and the clean image, both ``image_HWC`` uint8 RGB of the same size.

        Raises:
            UserError: an image that is too small, or a pair of different sizes.
            ImageError: a file that cannot be read.
        """
        clean = self.clean if isinstance(self.clean, np.ndarray) else _read(self.clean)
        if self.degraded is not None:
            degraded = _read(self.degraded)
            if degraded.shape != clean.shape:
                raise UserError(
                    f"{self.degraded} is {degraded.shape[1]}x{degraded.shape[0]} pixels but its "
                    f"target {clean.shape[1]}x{clean.shape[0]}: pairs must have equal sizes"
                )
            return crop_to_multiple(degraded, crop_multiple), crop_to_multiple(clean, crop_multiple)
        clean = crop_to_multiple(clean, crop_multiple)
        if isinstance(self.degradation, Gaussian):
            return add_gaussian(clean, self.degradation.sigma, seed_of(self.name)), clean
        return synthesise(clean, self.degradation.degradation, seed_of(self.name)), clean


def find_samples(suite: Suite, data: Path | None, limit: int = 0) -> list[Sample]:
    """List what a suite will measure, degradation by degradation, images sorted by name.

    Args:
        suite: the suite.
        data: folder that holds the suite's folders; None asks the variable ``CPL_EDGE_DATA``.
        limit: take only the first images by name; 0 leaves it to the suite.

    Raises:
        UserError: a folder is missing or empty, an image has no counterpart, or there is no such
            synthetic degradation.
        MissingExtra: bundled photos without scikit-image, or synthetic degradations without torch.
    """
    _check_synthetic(suite)
    folders = _find_folders(suite, data)
    clean: list[tuple[str, Path | Image]] = []
    if suite.images == BUNDLED:
        clean = [*bundled_photos()]
    elif suite.images:
        clean = [*_images_in(folders[suite.images]).items()]
    samples = []
    for degradation in suite.degradations:
        if isinstance(degradation, Pairs):
            found = _pair(degradation, folders[degradation.input], folders[degradation.target])
        else:
            found = [Sample(name, degradation, source) for name, source in clean]
        samples += found[: limit or suite.limit or None]
    return samples


def seed_of(name: str) -> int:
    """Seed of an image: the CRC-32 of its name, the same on every machine."""
    return zlib.crc32(name.encode())


def add_gaussian(image_HWC: Image, sigma: float, seed: int) -> Image:
    """Noise as the published figures have it: uint8 + N(0, sigma^2), clipped, rounded to uint8.

    Args:
        image_HWC: clean uint8 image.
        sigma: standard deviation in units of 1/255.
        seed: of the noise.
    """
    noise = np.random.default_rng(seed).standard_normal(image_HWC.shape) * sigma
    return np.rint(np.clip(image_HWC + noise, 0, 255)).astype(np.uint8)


def synthesise(image_HWC: Image, degradation: str, seed: int) -> Image:
    """Degrade a whole photo by :func:`cpl_edge.data.degradations.degrade`, on the CPU.

    Args:
        image_HWC: clean uint8 image.
        degradation: name, or several joined by ``+``.
        seed: of the strength and of everything else that is drawn.

    Raises:
        UserError: there is no such degradation.
    """
    import torch

    from cpl_edge.data.degradations import degrade

    x_HWC = torch.from_numpy(image_HWC.astype(np.float32) / 255)
    x_BCHW = x_HWC.permute(2, 0, 1)[None].contiguous()
    y_BCHW = degrade(x_BCHW, degradation, torch.Generator().manual_seed(seed))
    y_HWC: npt.NDArray[np.float32] = y_BCHW[0].permute(1, 2, 0).numpy()
    return np.rint(y_HWC * 255).astype(np.uint8)


def _check_synthetic(suite: Suite) -> None:
    """Fail before the first image rather than in the middle of a run."""
    wanted = [d.degradation for d in suite.degradations if isinstance(d, Synthetic)]
    if not wanted:
        return
    require("torch", extra="train")
    from cpl_edge.data.degradations import KINDS

    for name in "+".join(wanted).split("+"):
        if name not in KINDS:
            raise UserError(
                f"suite {suite.name!r}: no degradation {name!r}; there are {', '.join(KINDS)}"
            )


def _read(path: Path) -> Image:
    image_HWC = read_photo(path).image_HWC
    if image_HWC.dtype == np.uint8:
        return image_HWC.astype(np.uint8, copy=False)
    raise ImageError(f"{path} has 16 bits a channel and suites measure 8-bit images: convert it")


def _find_folders(suite: Suite, data: Path | None) -> dict[str, Path]:
    """The suite's folders by the name that the suite gives them, all of them there."""
    if not suite.folders:
        return {}
    if data is None and (variable := os.environ.get(DATA_VARIABLE)):
        data = Path(variable)
    needs = f"a folder that holds {suite.holds or ' and '.join(suite.folders)}"
    if data is None:
        raise UserError(
            f"suite {suite.name!r} reads your images: set --data or {DATA_VARIABLE} to {needs}"
        )
    for folder in suite.folders:
        if not (data / folder).is_dir():
            raise UserError(
                f"there is no folder {data / folder}: set --data or {DATA_VARIABLE} to {needs}"
            )
    return {folder: data / folder for folder in suite.folders}


def _images_in(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without suffix, sorted."""
    files = sorted(p for p in folder.iterdir() if is_image(p) and p.is_file())
    if not files:
        raise UserError(f"{folder} holds no images: put the suite's images there")
    images: dict[str, Path] = {}
    for path in files:
        if path.stem in images:
            raise UserError(f"{path} and {images[path.stem].name} have one name: remove one")
        images[path.stem] = path
    return images


def _pair(degradation: Pairs, inputs: Path, targets: Path) -> list[Sample]:
    degraded, clean = _images_in(inputs), _images_in(targets)
    for name in sorted(degraded.keys() ^ clean.keys()):
        present, other = (degraded, targets) if name in degraded else (clean, inputs)
        raise UserError(f"{present[name]} has no counterpart of the same name in {other}")
    return [Sample(name, degradation, clean[name], path) for name, path in degraded.items()]
