"""PNG of 16 bits and TIFF, which Pillow writes without 16-bit colour or without EXIF.

Pillow 13 packs no colour of 16 bits, and its compressed TIFF fails on an EXIF directory
("Error setting from dictionary"). Both formats are simple to write when only one layout is
needed; for TIFF, Pillow's own directory class does the tags.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, TiffTags

from cpl_edge.data.exif import descriptive

_STRIP = 2**20  # bytes of pixels compressed at once
_LEVEL = 4  # of zlib: within 2 % of the size of level 6, in half of its time

_PNG_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_ADOBE_DEFLATE, _HORIZONTAL, _UNASSOCIATED_ALPHA = 8, 2, 2


def write_png_16(
    file: IO[bytes], pixels_HWC: npt.NDArray[Any], icc: bytes | None, exif: bytes | None
) -> None:
    """Write a PNG of 16 bits a channel (PNG specification, third edition).

    Args:
        file: open for writing.
        pixels_HWC: uint16; 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels.
        icc: profile for the iCCP chunk.
        exif: TIFF-structured block for the eXIf chunk.
    """

    def chunk(name: bytes, data: bytes) -> None:
        checksum = zlib.crc32(data, zlib.crc32(name))
        file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum))

    height, width, channels = pixels_HWC.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOUR_TYPE[channels], 0, 0, 0)
    chunk(b"IHDR", header)
    if icc is not None:
        chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if exif is not None:
        chunk(b"eXIf", exif)
    deflate = zlib.compressobj(_LEVEL)
    pixel = 2 * channels
    rows = max(1, _STRIP // (width * pixel))
    for top in range(0, height, rows):
        band = pixels_HWC[top : top + rows].astype(">u2", order="C")
        bytes_HB = band.view(np.uint8).reshape(len(band), width * pixel)
        lines_HB = np.empty((len(band), 1 + width * pixel), np.uint8)
        lines_HB[:, 0] = 1  # filter "Sub": differences to the pixel on the left
        lines_HB[:, 1 : 1 + pixel] = bytes_HB[:, :pixel]
        np.subtract(bytes_HB[:, pixel:], bytes_HB[:, :-pixel], out=lines_HB[:, 1 + pixel :])
        data = deflate.compress(lines_HB.tobytes())
        if data:
            chunk(b"IDAT", data)
    chunk(b"IDAT", deflate.flush())
    chunk(b"IEND", b"")


def write_tiff(
    file: IO[bytes],
    pixels_HWC: npt.NDArray[Any],
    icc: bytes | None,
    exif: bytes | None,
) -> None:
    """Write a TIFF 6.0 file in strips, compressed by deflate with horizontal differencing.

    Args:
        file: open for writing, at its start.
        pixels_HWC: uint8 or uint16; 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels.
        icc: profile.
        exif: TIFF-structured block, of which the tags that describe a photo are kept.
    """
    height, width, channels = pixels_HWC.shape
    rows = min(height, max(1, _STRIP // (width * channels * pixels_HWC.itemsize)))
    strips = []
    for top in range(0, height, rows):
        band = np.diff(pixels_HWC[top : top + rows], axis=1, prepend=pixels_HWC.dtype.type(0))
        little_endian = band.astype(band.dtype.newbyteorder("<"))
        strips.append(zlib.compress(little_endian.tobytes(), _LEVEL))
    sizes = [len(strip) for strip in strips]

    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    if exif is not None:
        source = Image.Exif()
        source.load(exif)
        for tag, value in descriptive(source).items():
            tags[tag] = value
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (pixels_HWC.itemsize * 8,) * channels
    tags[TiffImagePlugin.COMPRESSION] = _ADOBE_DEFLATE
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2 if channels > 2 else 1  # RGB, grey
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.ROWSPERSTRIP] = rows
    tags[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    tags[TiffImagePlugin.PREDICTOR] = _HORIZONTAL
    if channels in (2, 4):
        tags[TiffImagePlugin.EXTRASAMPLES] = _UNASSOCIATED_ALPHA
    if icc is not None:
        tags[TiffImagePlugin.ICCPROFILE] = icc
    tags.tagtype[TiffImagePlugin.STRIPBYTECOUNTS] = TiffTags.LONG
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = tuple(sizes)
    # Relative to the end of the directory, which adds its own length when it is written.
    tags.tagtype[TiffImagePlugin.STRIPOFFSETS] = TiffTags.LONG
    tags[TiffImagePlugin.STRIPOFFSETS] = tuple(int(sum(sizes[:i])) for i in range(len(sizes)))
    tags.save(file)
    for strip in strips:
        file.write(strip)
