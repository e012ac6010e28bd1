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

from cpl_edge.data.images import is_image, read_photo
from cpl_edge.data.layouts import Source
from cpl_edge.data.pairing import PAIRINGS, find
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import ImageError, UserError
from cpl_edge.evaluate.degraded import Image, check_synthetic, make
from cpl_edge.evaluate.metrics import crop_to_multiple
from cpl_edge.evaluate.suites import BUNDLED, Degradation, Pairs, Suite

DATA_VARIABLE = "CPL_EDGE_DATA"


@dataclass(frozen=True)
class Sample:
    """One image of a suite under one degradation, not read yet.

    Attributes:
        name: file name without its suffix; seeds the degradation.
        degradation: the entry of the suite.
        clean: file, or ``image_HWC`` (uint8 RGB) of a bundled photo.
        degraded: file of a pair; None where the degradation is made here.
        smallest: pixels a side that must be left after cropping.
    """

    name: str
    degradation: Degradation
    clean: Path | Image
    degraded: Path | None = None
    smallest: int = 7

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
        if isinstance(self.degradation, Pairs):
            assert self.degraded is not None
            degraded = _read(self.degraded)
            if degraded.shape != clean.shape:
                raise UserError(
                    f"{self.degraded} is {degraded.shape[1]}x{degraded.shape[0]} pixels but its "
                    f"target {clean.shape[1]}x{clean.shape[0]}: pairs must have equal sizes"
                )
            degraded = crop_to_multiple(degraded, crop_multiple, self.smallest)
            return degraded, crop_to_multiple(clean, crop_multiple, self.smallest)
        clean = crop_to_multiple(clean, crop_multiple, self.smallest)
        return make(clean, self.degradation, seed_of(self.name))


def available(suite: Suite, data: Path | None) -> tuple[Suite, tuple[str, ...]]:
    """The suite as it can be measured with the images at hand.

    Without a data folder, ``fallback`` takes the bundled photos. Of a published dataset what is
    not there is left out, since few people have all of it.

    Args:
        suite: the suite.
        data: folder that holds the suite's folders; None asks the variable ``CPL_EDGE_DATA``.

    Returns:
        The suite, changed where it must be, and a line about every change.

    Raises:
        UserError: nothing of a published dataset is there.
    """
    data = _data_folder(data)
    if data is None and suite.fallback:
        note = f"no --data FOLDER: the photos inside scikit-image instead of {suite.images}/"
        about = f"{suite.about} (here: bundled photos)"
        changes = {"images": BUNDLED, "fallback": False, "about": about}
        return suite.model_copy(update=changes), (note,)
    if data is None or not suite.layout:
        return suite, ()
    absent = {name for name in suite.folders if not _has_images(data / name)}
    kept = []
    notes = []
    for degradation in suite.degradations:
        lacks = [name for name in suite.folders_of(degradation) if name in absent]
        if lacks:
            notes.append(f"{degradation.label} left out: no images in {data / lacks[0]}")
        else:
            kept.append(degradation)
    if not kept:
        raise UserError(
            f"suite {suite.name!r} finds none of its images: it expects {', '.join(suite.folders)} "
            f"below {data} (python -m cpl_edge.data --layout {suite.layout} --check {data})"
        )
    return suite.model_copy(update={"degradations": tuple(kept)}), tuple(notes)


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
    check_synthetic(suite)
    root = _find_root(suite, _data_folder(data))
    clean: dict[str, list[tuple[str, Path | Image]]] = {}
    samples = []
    for degradation in suite.degradations:
        if isinstance(degradation, Pairs):
            found = _pair(degradation, root, suite.smallest)
        else:
            (folder,) = suite.folders_of(degradation)
            if folder not in clean:
                is_bundled = folder == BUNDLED
                clean[folder] = [
                    *(bundled_photos() if is_bundled else _images_in(root / folder).items())
                ]
            found = [
                Sample(name, degradation, source, smallest=suite.smallest)
                for name, source in clean[folder]
            ]
        samples += found[: limit or suite.limit or None]
    return samples


def seed_of(name: str) -> int:
    """Seed of an image: the CRC-32 of its name, the same on every machine."""
    return zlib.crc32(name.encode())


def _read(path: Path) -> Image:
    image_HWC = read_photo(path).image_HWC
    if image_HWC.dtype == np.uint8:
        return image_HWC.astype(np.uint8, copy=False)
    raise ImageError(f"{path} has 16 bits a channel and suites measure 8-bit images: convert it")


def _data_folder(data: Path | None) -> Path | None:
    if data is None and (variable := os.environ.get(DATA_VARIABLE)):
        return Path(variable)
    return data


def _find_root(suite: Suite, data: Path | None) -> Path:
    """The data folder, with all of the suite's folders in it."""
    if not suite.folders:
        return Path()
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
    return data


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and any(map(_is_sample, folder.iterdir()))


def _is_sample(path: Path) -> bool:
    return is_image(path) and not path.name.startswith(".") and path.is_file()


def _images_in(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without suffix, sorted."""
    files = sorted(filter(_is_sample, folder.iterdir()))
    if not files:
        raise UserError(f"{folder} holds no images: put the suite's images there")
    images: dict[str, Path] = {}
    for path in files:
        if path.stem in images:
            raise UserError(f"{path} and {images[path.stem].name} have one name: remove one")
        images[path.stem] = path
    return images


def _pair(degradation: Pairs, root: Path, smallest: int) -> list[Sample]:
    folders = {
        name: [f"{name}/{path.name}" for path in _images_in(root / name).values()]
        for name in degradation.folders
    }
    source = Source(
        degradation.degradation,
        "test",
        degradation.target,
        degradation.input,
        pairing=degradation.pairing,
    )
    found = find(source, folders)
    for name in found.unreadable:
        example = PAIRINGS[degradation.pairing].example
        raise UserError(f"{root / name} is not named like {example or 'Unicode text'}: rename it")
    for name, clean in found.unpaired:
        raise UserError(f"{root / name} has no counterpart {root / clean}.*: add it")
    for name in found.lost:
        raise UserError(f"{root / name} has no counterpart in {root / degradation.input}: add it")
    return [
        Sample(Path(i.degraded).stem, degradation, root / i.clean, root / i.degraded, smallest)
        for i in found.items
    ]
