"""Writing a restored photo: all or nothing, with what its source carried."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpl_edge.data import lossless
from cpl_edge.errors import ImageError

if TYPE_CHECKING:
    from cpl_edge.data.images import Photo

_Array = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

WRITTEN_SUFFIXES: Mapping[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Suffixes that `write_photo` knows, and the formats they stand for."""

_LONGEST_SIDE = {"JPEG": 65500, "WebP": 16383}
_EXIF_LIMIT = {"JPEG": 65527}  # one marker: 65535 less its length and the prefix
_BANDS = 256  # rows converted at once


def write_photo(
    path: str | os.PathLike[str],
    image_HWC: _Array,
    *,
    like: Photo | None = None,
    quality: int = 95,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a photo in the format of the path's suffix.

    The file appears complete or not at all: it is written under another name in the same folder,
    flushed to the disk and then renamed. A replaced file keeps its permissions.

    Args:
        path: PNG, JPEG, WebP, TIFF or BMP by its suffix.
        image_HWC: RGB, uint8 or uint16. PNG and TIFF keep 16 bits, the others round to 8.
        like: the photo this one was made from, of the same height and width; its alpha, ICC
            profile and EXIF are kept where the format can hold them, and a grey one is written
            grey (Rec. 601 luma of ``image_HWC``).
        quality: of JPEG (4:4:4 chroma) and WebP, 1 to 100; 100 makes WebP lossless.
        overwrite: replace an existing file.

    Returns:
        What the format could not hold, one line each, for the user.

    Raises:
        ImageError: unknown suffix, existing file, or the file cannot be written.
        ValueError: the arrays are not what this function takes.
    """
    path = Path(path)
    _check_arrays(image_HWC, like)
    if not 1 <= quality <= 100:
        raise ImageError(f"a quality of {quality} is not possible: give 1 to 100")
    file_format = WRITTEN_SUFFIXES.get(path.suffix.lower())
    if file_format is None:
        known = ", ".join(WRITTEN_SUFFIXES)
        raise ImageError(one_line(f"{path}: cannot write this kind of file: use one of {known}"))
    longest = _LONGEST_SIDE.get(file_format)
    if longest is not None and max(image_HWC.shape) > longest:
        raise ImageError(
            one_line(f"{path}: {file_format} ends at {longest} pixels a side: use .png or .tif")
        )
    _check_target(path, overwrite)
    pixels, icc, exif, notes = _contents(image_HWC, like, file_format)
    try:
        _replace(path, lambda file: _encode(file, file_format, pixels, icc, exif, quality))
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(one_line(f"{path}: cannot be written: {reason}")) from error
    return notes


def one_line(message: str) -> str:
    """Make a message printable on one line, whatever is in a file's name."""
    line = " ".join(message.split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def icc_space(icc: bytes) -> bytes | None:
    """Read the colour space of an ICC profile (ICC.1:2022, 7.2.6), e.g. ``b"RGB "``.

    Returns:
        None for what is not a whole profile.
    """
    whole = len(icc) >= 128 and icc[36:40] == b"acsp" and len(icc) >= int.from_bytes(icc[:4], "big")
    return icc[16:20] if whole else None


def _check_arrays(image_HWC: _Array, like: Photo | None) -> None:
    if image_HWC.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"image_HWC must be uint8 or uint16, not {image_HWC.dtype}")
    if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.size == 0:
        raise ValueError(f"image_HWC must be (height, width, 3), not {image_HWC.shape}")
    if like is not None and like.image_HWC.shape != image_HWC.shape:
        raise ValueError(f"like is {like.image_HWC.shape}, the image {image_HWC.shape}")


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise ImageError(one_line(f"{path}: is a folder: give the name of a file"))
    if not path.parent.is_dir():
        raise ImageError(one_line(f"{path}: there is no folder {path.parent}: make it first"))
    if path.exists() and not overwrite:
        raise ImageError(
            one_line(f"{path}: exists already: choose another name or pass --overwrite")
        )


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file under a passing name, then give it its own; remove it on any failure."""
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".cpl-edge-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:  # KeyboardInterrupt too
        temporary.unlink(missing_ok=True)
        raise


def _contents(
    image_HWC: _Array, like: Photo | None, file_format: str
) -> tuple[_Array, bytes | None, bytes | None, tuple[str, ...]]:
    """Fit what is to be written to what the format holds: (pixels_HWC, icc, exif, notes).

    ``pixels_HWC`` has one channel (grey), two (and alpha), three (RGB) or four (and alpha).
    """
    notes: list[str] = []
    alpha_HW, icc, exif, grey = None, None, None, False
    if like is not None:
        alpha_HW, icc, exif = like.alpha_HW, like.icc, like.exif
        # WebP has no grey; Pillow, and so this product, reads no 16-bit grey TIFF with alpha.
        grey = like.grey and file_format != "WebP"
        if file_format == "TIFF" and alpha_HW is not None and image_HWC.dtype == np.uint16:
            grey = False
    pixels_HWC = _luma(image_HWC) if grey else image_HWC
    if alpha_HW is not None and file_format in ("JPEG", "BMP"):
        notes.append(f"{file_format} holds no transparency, so it is dropped: .png keeps it")
        alpha_HW = None
    if pixels_HWC.dtype == np.uint16 and file_format not in ("PNG", "TIFF"):
        notes.append(f"{file_format} holds 8 bits a channel, so 16 are rounded: .png keeps them")
        pixels_HWC = _as_type(pixels_HWC, np.dtype(np.uint8))
    if alpha_HW is not None:
        alpha_HW1 = _as_type(alpha_HW, pixels_HWC.dtype)[..., None]
        pixels_HWC = np.append(pixels_HWC, alpha_HW1, axis=2)
    if icc is not None and (file_format == "BMP" or (not grey and icc_space(icc) != b"RGB ")):
        notes.append(f"the ICC profile does not fit into this {file_format}: .png keeps it")
        icc = None
    if exif is not None and (
        file_format == "BMP" or len(exif) > _EXIF_LIMIT.get(file_format, len(exif))
    ):
        notes.append(f"the EXIF data do not fit into a {file_format}: .png keeps them")
        exif = None
    return pixels_HWC, icc, exif, tuple(notes)


def _luma(image_HWC: _Array) -> _Array:
    """Grey of RGB, (H, W, 1), of the same type; equal channels keep their value exactly."""
    luma_HW1 = np.empty((*image_HWC.shape[:2], 1), image_HWC.dtype)
    weights = np.array((19595, 38470, 7471), np.uint32)  # 0.299, 0.587, 0.114 of 65536
    for top in range(0, len(image_HWC), _BANDS):
        band_HWC = image_HWC[top : top + _BANDS].astype(np.uint32)
        luma_HW1[top : top + _BANDS, :, 0] = (band_HWC @ weights + 32768) >> 16
    return luma_HW1


def _as_type(pixels: _Array, dtype: np.dtype[Any]) -> _Array:
    """Change between [0, 255] and [0, 65535], rounded."""
    if pixels.dtype == dtype:
        return pixels
    if dtype == np.uint16:
        return pixels.astype(np.uint16) * np.uint16(257)
    rounded = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _BANDS):
        band = pixels[top : top + _BANDS].astype(np.uint32)
        rounded[top : top + _BANDS] = (band + 128) // 257
    return rounded


def _encode(
    file: IO[bytes],
    file_format: str,
    pixels_HWC: _Array,
    icc: bytes | None,
    exif: bytes | None,
    quality: int,
) -> None:
    if file_format == "TIFF":
        lossless.write_tiff(file, pixels_HWC, icc, exif)
        return
    if pixels_HWC.dtype == np.uint16:
        lossless.write_png_16(file, pixels_HWC, icc, exif)
        return
    options: dict[str, Any] = {}
    if icc is not None:
        options["icc_profile"] = icc
    if exif is not None:
        options["exif"] = b"Exif\0\0" + exif if file_format == "JPEG" else exif
    if file_format == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
    if file_format == "WebP":
        options |= {"quality": quality, "lossless": quality == 100, "exact": True}
    squeezed = pixels_HWC[..., 0] if pixels_HWC.shape[2] == 1 else pixels_HWC
    Image.fromarray(squeezed).save(file, file_format, **options)
