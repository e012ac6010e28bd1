"""A bank: the images of a dataset, decoded once, in one memory-mapped file.

A folder with two files:

- ``pixels.bin``: uint8 RGB of all images, one after the other. It only ever grows, so whoever has
  it mapped is never disturbed.
- ``index.json``: name, size and time of each file, place, height, width and CRC-32 of its pixels.
  It is replaced as a whole, after the pixels that it speaks of have reached the disk.

So a killed packing (:mod:`cpl_edge.data.packing`) leaves a sound bank that is marked unfinished.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from cpl_edge.cli import track
from cpl_edge.errors import CplEdgeError, UserError

_FORMAT = 1
INDEX, PIXELS = "index.json", "pixels.bin"
_AGAIN = "delete it and pack again"


@dataclass(frozen=True)
class Entry:
    """One image of a bank.

    Attributes:
        name: file relative to the dataset, with forward slashes.
        size: bytes of the file when it was packed.
        mtime_ns: its time of change.
        offset: where it begins in the bank, in pixels.
        height: rows.
        width: columns.
        crc: CRC-32 of its pixels.
    """

    name: str
    size: int
    mtime_ns: int
    offset: int
    height: int
    width: int
    crc: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width


@dataclass(frozen=True)
class Index:
    """What ``index.json`` says.

    Attributes:
        entries: the images.
        pixels: number of pixels of the file that count; what lies behind is left from a kill.
        complete: whether all images that were asked for are in.
    """

    entries: tuple[Entry, ...] = ()
    pixels: int = 0
    complete: bool = False


class Bank:
    """A packed bank, opened for reading.

    Args:
        folder: as :func:`pack` made it.

    Attributes:
        entries: what is in it, sorted by name.
        pixels: uint8 RGB ``(all pixels, 3)``, mapped from the file; private: writing changes
            neither the file nor what others see.

    Raises:
        UserError: there is no bank in the folder, or its packing was not finished.
        CplEdgeError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        index = read_index(folder)
        if index is None:
            raise UserError(f"{folder} is no bank: make one with python -m cpl_edge.data --pack")
        if not index.complete:
            raise UserError(f"{folder} is not packed to the end: run the same --pack again")
        self.folder, self.entries = folder, index.entries
        self.pixels: npt.NDArray[np.uint8] = np.memmap(
            folder / PIXELS, np.uint8, mode="c", shape=(index.pixels, 3)
        )
        self._place = {entry.name: i for i, entry in enumerate(self.entries)}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        return list(self._place)

    def place(self, name: str) -> int:
        """Position of an image in ``entries``.

        Raises:
            UserError: the bank does not hold it.
        """
        if name not in self._place:
            raise UserError(f"{self.folder} does not hold {name}: pack its dataset again")
        return self._place[name]

    def image(self, position: int) -> npt.NDArray[np.uint8]:
        """One image, uint8 RGB ``image_HWC``, not copied."""
        entry = self.entries[position]
        flat = self.pixels[entry.offset : entry.offset + entry.pixels]
        return flat.reshape(entry.height, entry.width, 3)

    @property
    def unused(self) -> float:
        """Share of the file that belongs to changed or removed images."""
        return 1 - sum(entry.pixels for entry in self.entries) / len(self.pixels)

    def verify(self) -> None:
        """Read every pixel, with a progress bar.

        Raises:
            CplEdgeError: images are damaged.
        """
        bad = [
            entry.name
            for i, entry in track(list(enumerate(self.entries)), "verifying")
            if zlib.crc32(self.image(i).data) != entry.crc
        ]
        if bad:
            raise CplEdgeError(
                f"{len(bad)} images of the bank {self.folder} are damaged, first {bad[0]}: {_AGAIN}"
            )


def file_digest(entries: Sequence[Entry]) -> str:
    """SHA-256 over names, sizes and times of the files, in the order of their names."""
    lines = sorted(f"{entry.name}\t{entry.size}\t{entry.mtime_ns}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def write_index(folder: Path, file: IO[bytes], index: Index) -> None:
    """Replace the index, once the pixels are on the disk.

    Args:
        folder: of the bank.
        file: the open file of pixels.
        index: what it holds.
    """
    file.flush()
    os.fsync(file.fileno())
    content = {
        "format": _FORMAT,
        "complete": index.complete,
        "files": file_digest(index.entries),
        "pixels": index.pixels,
        "images": [astuple(entry) for entry in index.entries],
    }
    part = folder / f"{INDEX}.part"
    with part.open("w", encoding="utf-8") as out:
        json.dump(content, out)
        out.flush()
        os.fsync(out.fileno())
    part.replace(folder / INDEX)


def read_index(folder: Path) -> Index | None:
    """The index of a bank, checked against itself and the length of the pixels.

    Returns:
        The index; None where there is none.

    Raises:
        CplEdgeError: the bank is damaged, or of another version.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    damaged = f"the bank {folder} is damaged"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise CplEdgeError(f"the bank {folder} is of another version: {_AGAIN}")
        entries = tuple(Entry(*image) for image in content["images"])
        pixels, complete = content["pixels"], content["complete"]
        sound = content["files"] == file_digest(entries) and all(
            0 <= e.offset <= e.offset + e.pixels <= pixels for e in entries
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CplEdgeError(f"{damaged} ({INDEX} cannot be read): {_AGAIN}") from error
    if not sound:
        raise CplEdgeError(f"{damaged} ({INDEX} contradicts itself): {_AGAIN}")
    there = (folder / PIXELS).stat().st_size if (folder / PIXELS).exists() else 0
    if there < 3 * pixels:
        raise CplEdgeError(f"{damaged} ({PIXELS} is cut off): {_AGAIN}")
    return Index(entries, pixels, complete)
