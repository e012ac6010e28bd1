"""EXIF blocks: carried through, but no longer asking a viewer to turn the picture.

A block is patched in place instead of being parsed and written again: maker notes hold offsets
into the block, and would break if anything moved.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import ExifTags, Image

ORIENTATION = int(ExifTags.Base.Orientation)
_PREFIX = b"Exif\0\0"

# The tags of a TIFF's first directory that describe the photo. All others there (sizes, strip
# offsets, compression, ...) describe the file, and would break another one.
_DESCRIPTIVE = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)


def upright(block: bytes) -> bytes | None:
    """Set the orientation of an EXIF block to 1 and unlink its thumbnail.

    The thumbnail shows the picture as it was, and lies as the sensor did.

    Args:
        block: EXIF as files hold it, with or without the "Exif" prefix of JPEG.

    Returns:
        The block without prefix and of the same length; None where it is damaged.
    """
    data = bytearray(block)
    while data.startswith(_PREFIX):
        del data[: len(_PREFIX)]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        end = start + 2 + 12 * count
        if end > len(data):
            return None
        for entry in range(start + 2, end, 12):
            if struct.unpack_from(order + "H", data, entry) == (ORIENTATION,):
                struct.pack_into(order + "HIHH", data, entry + 2, 3, 1, 1, 0)  # one SHORT: 1
        if len(data) >= end + 4:  # some writers leave the link to the next directory away
            struct.pack_into(order + "I", data, end, 0)
    except struct.error:
        return None
    return bytes(data)


def descriptive(exif: Image.Exif) -> dict[int, Any]:
    """Keep what describes the photo, for or from a TIFF, whose own tags share the directory.

    Args:
        exif: as Pillow reads it from a file or a block.

    Returns:
        Tags and values without orientation, thumbnail and the tags that describe the file; the
        Exif and GPS directories are dicts of their own.
    """
    kept = {int(tag): exif[tag] for tag in _DESCRIPTIVE if tag in exif}
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        values = exif.get_ifd(directory)
        if values:
            kept[int(directory)] = dict(values)
    return kept


def of_image(image: Image.Image) -> bytes | None:
    """Take the EXIF block of a loaded Pillow image, made upright.

    Args:
        image: opened and loaded (a PNG may hold its EXIF behind the pixels).

    Returns:
        A block as `upright` returns it; None where the file has none or a damaged one.
    """
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return upright(block)
    if image.format == "TIFF":
        exif = Image.Exif()
        exif.update(descriptive(image.getexif()))
        return upright(exif.tobytes()) if len(exif) else None
    return None
