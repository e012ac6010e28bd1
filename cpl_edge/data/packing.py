"""Packing the images of a dataset into a bank: resumable, and only what has changed.

A killed packing loses a few seconds: what lies behind the last index is cut off and packed again.
A file that has changed since (by size or time) is packed anew, behind the others.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpl_edge.cli import track
from cpl_edge.data.bank import INDEX, PIXELS, Bank, Entry, Index, read_index, write_index
from cpl_edge.data.images import is_image, read_photo
from cpl_edge.data.layout_checks import list_folders
from cpl_edge.data.layouts import Layout
from cpl_edge.data.pairing import training_items
from cpl_edge.errors import CplEdgeError, ImageError, UserError

_SAVE_EVERY = 256 * 2**20  # bytes between two indexes: a few seconds of decoding


def list_images(root: Path) -> list[str]:
    """Names of all images below a folder, sorted; hidden files are left out.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    found = (path for path in root.rglob("*") if is_image(path) and path.name[0] != ".")
    names = sorted(path.relative_to(root).as_posix() for path in found)
    if not names:
        raise UserError(f"{root} holds no images")
    return names


def list_training_images(root: Path, layout: Layout) -> list[str]:
    """Names of the images that a layout trains on, sorted; unpaired ones are left out.

    Raises:
        UserError: there is no such folder, or a task has no image in it.
    """
    patterns = [pattern for source in layout.split("train") for pattern in source.folders]
    names = chain.from_iterable(list_folders(root, patterns).values())
    items = training_items(layout, names)
    return sorted({name for item in items for name in (item.clean, item.degraded) if name})


def pack(root: Path, names: Iterable[str], folder: Path) -> Bank:
    """Pack images into a bank, or bring a bank up to date.

    Images that are in the bank already are not read again, so a killed packing goes on where it
    was. A file that cannot be read does not stop the others.

    Args:
        root: the dataset.
        names: images relative to it; what else the bank held is dropped from it.
        folder: of the bank; made if need be.

    Returns:
        The bank.

    Raises:
        UserError: no names, or a file cannot be read; the bank is then unfinished, but keeps the
            others for the next time.
        CplEdgeError: the bank is damaged, or the disk is full.
    """
    stamps = {name: _stamp(root, name) for name in sorted(set(names))}
    if not stamps:
        raise UserError(f"there is nothing to pack in {root}")
    old = read_index(folder) or Index()
    kept = {e.name: e for e in old.entries if stamps.get(e.name) == (e.size, e.mtime_ns)}
    if old.complete and len(kept) == len(stamps) == len(old.entries):
        return Bank(folder)
    try:
        _add(root, stamps, folder, kept, old.pixels)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CplEdgeError(
                f"the disk of {folder} is full: make room and run the same --pack again"
            ) from error
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    return Bank(folder)


def _add(
    root: Path,
    stamps: dict[str, tuple[int, int]],
    folder: Path,
    entries: dict[str, Entry],
    pixels: int,
) -> None:
    """Append what is missing in ``entries`` behind the first ``pixels`` pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    if not entries:  # nothing to keep: whoever has the old file mapped keeps it
        (folder / INDEX).unlink(missing_ok=True)
        (folder / PIXELS).unlink(missing_ok=True)
        pixels = 0
    failed: list[ImageError] = []
    todo = [name for name in stamps if name not in entries]
    with (folder / PIXELS).open("r+b" if entries else "w+b") as file:
        file.truncate(3 * pixels)
        file.seek(0, os.SEEK_END)
        unsaved = 0
        for name in track(todo, "packing"):
            try:
                image_HWC = _read(root / name)
            except ImageError as error:
                failed.append(error)
                continue
            height, width, _ = image_HWC.shape
            crc = zlib.crc32(image_HWC.data)
            file.write(image_HWC.data)
            entries[name] = Entry(name, *stamps[name], pixels, height, width, crc)
            pixels += height * width
            unsaved += image_HWC.nbytes
            if unsaved >= _SAVE_EVERY:
                write_index(folder, file, Index(tuple(entries.values()), pixels))
                unsaved = 0
        done = Index(tuple(entries[name] for name in stamps if name in entries), pixels)
        write_index(folder, file, Index(done.entries, pixels, complete=not failed))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise UserError(f"{failed[0]}{more}; all other images are packed")


def _stamp(root: Path, name: str) -> tuple[int, int]:
    try:
        status = (root / name).stat()
    except OSError as error:
        raise UserError(f"{root / name} cannot be read: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def _read(path: Path) -> npt.NDArray[np.uint8]:
    image_HWC = read_photo(path).image_HWC
    if image_HWC.dtype != np.uint8:
        image_HWC = image_HWC // 257
    return np.ascontiguousarray(image_HWC, np.uint8)
