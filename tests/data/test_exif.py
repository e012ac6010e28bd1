"""EXIF blocks: orientation reset in place, everything else where it was."""

from __future__ import annotations

import struct

import pytest
from PIL import ExifTags, Image

from cpl_edge.data import exif


def block(order: str, thumbnail: bool = False) -> bytes:
    """IFD0 of Make (in line), Orientation 6 and Software (by offset), maybe with an IFD1."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = [
        struct.pack(order + "HHI4s", 0x010F, 2, 3, b"Me\0\0"),
        struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0),
        struct.pack(order + "HHII", 0x0131, 2, 8, 50),
    ]
    data = magic + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries)
    data += struct.pack(order + "I", 58 if thumbnail else 0) + b"Program\0"
    if thumbnail:
        data += struct.pack(order + "H", 1) + struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
        data += struct.pack(order + "I", 0)
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_orientation_becomes_one_and_nothing_moves(order: str, prefix: bytes) -> None:
    before = block(order)
    after = exif.upright(prefix + before)
    assert after is not None
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert len(changed) == 1, "only the orientation's own byte differs"
    read = Image.Exif()
    read.load(after)
    assert dict(read) == {0x010F: "Me", 0x0112: 1, 0x0131: "Program"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_thumbnail_is_unlinked(order: str) -> None:
    before, read = block(order, thumbnail=True), Image.Exif()
    read.load(before)
    assert read.get_ifd(ExifTags.IFD.IFD1), "the block does have a thumbnail directory"
    after = exif.upright(before)
    assert after is not None
    read.load(after)
    assert not read.get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("length", [0, 3, 7, 9, 12, 40])
def test_damaged_block_is_none(length: int) -> None:
    assert exif.upright(block("<")[:length]) is None


def test_missing_link_at_the_end_is_accepted() -> None:
    data = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0)
    assert exif.upright(data) == data[:-4] + b"\1\0\0\0"


def test_descriptive_leaves_the_files_own_tags_behind() -> None:
    source = Image.Exif()
    source[ExifTags.Base.ImageWidth] = 9999  # some phones write this into a JPEG's EXIF
    source[ExifTags.Base.Orientation] = 6
    source[ExifTags.Base.Make] = "Me"
    source.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    read = Image.Exif()
    read.load(source.tobytes())
    assert exif.descriptive(read) == {
        0x010F: "Me",
        0x8769: {0x9003: "2024:05:06 07:08:09"},
    }
