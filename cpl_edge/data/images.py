"""Reading any photo that a phone or a camera makes; writing is in `cpl_edge.data.image_writing`.

Pixels stay at the depth of the file (a photo of 12 megapixels is 36 MB, not 144 as float32).
Whatever is wrong with a file becomes an `ImageError` of one line.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from cpl_edge.data import exif
from cpl_edge.data.image_writing import icc_space, one_line, write_photo
from cpl_edge.data.pixels import read_pixels
from cpl_edge.errors import ImageError

__all__ = ["IMAGE_SUFFIXES", "Photo", "is_image", "read_photo", "write_photo"]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp")
)
"""Suffixes, in lower case, of the files that `read_photo` is meant for."""

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_CONVERT = "convert it to PNG or JPEG first"
_AGAIN = "copy or download it again"
_CAMERA_RAW = "camera raw is not supported: develop it to a TIFF or JPEG first"

# Files that people take for photos, by pattern at the start of the file.
_FOREIGN = (
    (rb"....ftyp(hei[cmsx]|hev[cmx]|mif1|msf1)", f"HEIC is not supported: {_CONVERT}"),
    (rb"....ftypavi[fs]", f"AVIF is not supported: {_CONVERT}"),
    (rb"....ftypcrx |FUJIFILMCCD-RAW|II\*\0....CR", _CAMERA_RAW),
    (rb"GIF8[79]a", f"GIF is not supported: {_CONVERT}"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", f"JPEG 2000 is not supported: {_CONVERT}"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", f"JPEG XL is not supported: {_CONVERT}"),
    (rb"8BPS", f"PSD is not supported: {_CONVERT}"),
    (rb"%PDF-", f"PDF is not supported: {_CONVERT}"),
)
_KNOWN = (
    (rb"\xff\xd8", "JPEG"),
    (rb"\x89PNG", "PNG"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM", "BMP"),
)

# Pillow's limit of pixels and Python's warning filters belong to the process.
_PROCESS = threading.RLock()

_NEW_SUBFILE_TYPE, _DNG_VERSION = 254, 50706  # TIFF tags

_TURNS: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright RGB picture at the depth of its file.

    Attributes:
        image_HWC: uint8 in [0, 255], or uint16 in [0, 65535] where the file has 16 bits a
            channel. RGB; a grey file has three equal channels. The EXIF orientation is applied.
        alpha_HW: opacity on the same scale and of the same type, not premultiplied; None where
            the file has none.
        icc: the file's ICC profile, byte for byte; the pixel values are those of that profile.
            None for CMYK files, whose pixels are converted to sRGB.
        exif: TIFF-structured EXIF block (without the "Exif" prefix of JPEG), its orientation set
            to 1 and its thumbnail unlinked.
        grey: the file is grey, so `write_photo` writes grey again.
        format: the file's format as Pillow names it, e.g. ``"JPEG"``.
        notes: what was not read as it stands in the file, one line each, for the user.
    """

    image_HWC: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    alpha_HW: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    grey: bool = False
    format: str = "PNG"
    notes: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of a channel: 8 or 16."""
        return self.image_HWC.dtype.itemsize * 8


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name promises an image that `read_photo` reads."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def read_photo(path: str | os.PathLike[str], max_megapixels: float = 200.0) -> Photo:
    """Read one photo: JPEG, PNG, WebP, TIFF or BMP, of 8 or 16 bits, grey, RGB or CMYK.

    Of a file with several pictures (animation, pages, gain map) the first is read, and
    `Photo.notes` says so. Palettes become RGB, and transparent colours alpha.

    Args:
        path: the file; its content decides, not its name.
        max_megapixels: a picture that claims more pixels is refused before it is decoded.

    Returns:
        The photo.

    Raises:
        ImageError: no such file, not an image, damaged, cut off, too large or unsupported.
    """
    path = Path(path)
    cause: Exception
    with _process_state():
        try:
            _check_file(path)
            return _read(path, max_megapixels)
        except ImageError as error:
            reason, cause = str(error), error
        # A hostile file can raise anything inside a decoder: OSError, SyntaxError, ValueError,
        # struct.error, KeyError, ZeroDivisionError, ... All of them say that it is damaged.
        except Exception as error:
            reason, cause = _reason(path, error), error
    raise ImageError(one_line(f"{path}: {reason}")) from cause


@contextmanager
def _process_state() -> Iterator[None]:
    """Let our own limit of pixels hold instead of Pillow's, and damaged metadata pass silently."""
    with _PROCESS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a folder, not an image")
    if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever
        raise ImageError("is not a regular file")
    if status.st_size == 0:
        raise ImageError("is empty (0 bytes): copy or download it again")
    head = _head(path)
    for pattern, reason in _FOREIGN:
        if re.match(pattern, head, re.DOTALL):
            raise ImageError(reason)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)


def _read(path: Path, max_megapixels: float) -> Photo:
    notes: list[str] = []
    with Image.open(path, formats=_FORMATS) as image:
        _check_size(image, max_megapixels)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notes.append(f"only the first of its {frames} pictures is read")
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _check_tiff(image)
        pixels = read_pixels(image, lambda: Image.open(path, formats=_FORMATS))
        if pixels.note:
            notes.append(pixels.note)
        block = exif.of_image(image)
        if block is None and image.info.get("exif"):
            notes.append("its EXIF data are damaged and not kept")
        orientation = image.getexif().get(exif.ORIENTATION)
        return Photo(
            image_HWC=_upright(pixels.image_HWC, orientation),
            alpha_HW=None if pixels.alpha_HW is None else _upright(pixels.alpha_HW, orientation),
            icc=_profile(image, pixels.grey, notes),
            exif=block,
            grey=pixels.grey,
            format=str(image.format),
            notes=tuple(notes),
        )


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise ImageError(
            f"{width} x {height} pixels ({megapixels:.0f} megapixels) are over the limit of "
            f"{max_megapixels:g} megapixels: raise it with --max-megapixels if you trust the file"
        )


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse what Pillow opens, but reads as another picture than the one in the file."""
    tags = image.tag_v2
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise ImageError(f"{_CAMERA_RAW} (its first picture is only a preview)")
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    if bits[0] not in (1, 2, 4, 8, 16):
        raise ImageError(f"TIFF of {bits[0]} bits a channel is not supported: save as 8 or 16 bit")
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    if bits[0] == 16 and planar and len(bits) > 1:
        raise ImageError("TIFF of 16 bits in separate planes is not supported: save it interleaved")


def _upright(pixels: npt.NDArray[Any], orientation: object) -> npt.NDArray[Any]:
    """Turn as the EXIF orientation asks (EXIF 2.32, 4.6.4 A; 1 or damaged: not at all)."""
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _profile(image: Image.Image, grey: bool, notes: list[str]) -> bytes | None:
    """The ICC profile, where it describes the pixels that were read."""
    icc = image.info.get("icc_profile")
    if not icc or image.mode == "CMYK":  # which is sRGB by now
        return None
    if icc_space(icc) in ((b"RGB ", b"GRAY") if grey else (b"RGB ",)):
        return bytes(icc)
    notes.append("its ICC profile is damaged or for other colours than its own, and not kept")
    return None


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, UnidentifiedImageError):
        head = _head(path)
        for pattern, name in _KNOWN:
            if re.match(pattern, head, re.DOTALL):
                return f"a damaged, cut off or unsupported {name} file: {_AGAIN}"
        return "not an image (JPEG, PNG, WebP, TIFF and BMP are)"
    if "MAX_TEXT" in str(error):
        return "holds texts or profiles that are suspiciously large: save it again without them"
    return f"damaged or cut off ({error or type(error).__name__}): {_AGAIN}"
