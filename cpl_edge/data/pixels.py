"""Pillow images of any mode to RGB arrays, at the depth of their file.

Colour of 16 bits a channel needs a detour. Pillow 13 has no mode for it
(https://github.com/python-pillow/Pillow/issues/1888) and unpacks the high byte of each sample
alone. Which byte that is, its decoder learns from the byte order in the *raw mode* of the image's
tiles. So the file is decoded twice, the second time in the name of the other byte order, which
unpacks the low bytes: exact, for every layout that Pillow reads, at the speed of its decoders.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from cpl_edge.errors import ImageError

Uint8 = npt.NDArray[np.uint8]
Uint16 = npt.NDArray[np.uint16]

_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "CMYK": "RGB",
}
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_BAND = 2**20  # pixels of a band of rows: small beside a photo, large beside Python's own cost


class Pixels(NamedTuple):
    """What `read_pixels` returns.

    ``image_HWC`` is uint8 or uint16 with three channels, ``alpha_HW`` (or None) is of the same
    type and not premultiplied, ``grey`` says that the three channels are one, and ``note`` how
    CMYK became RGB.
    """

    image_HWC: Uint8 | Uint16
    alpha_HW: Uint8 | Uint16 | None
    grey: bool
    note: str | None = None


def read_pixels(image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile]) -> Pixels:
    """Decode an image.

    Args:
        image: opened, not yet loaded; loaded afterwards.
        reopen: opens the same file once more, for 16-bit colour.

    Returns:
        The pixels as the file stores them: the EXIF orientation is not applied, except for TIFF,
        which Pillow turns by itself.

    Raises:
        ImageError: a kind of pixel that is not supported; the message does not name the file.
    """
    raw = _raw(image.tile[0]) if image.tile else ""
    if raw.startswith("LA;16"):
        return _grey_alpha_16(image)
    if raw.startswith("RGB") and raw[:-1].endswith(";16"):
        with reopen() as again:
            return _colour_16(image, again, raw)
    if image.mode.startswith("I;16"):
        return _grey_16(image)
    if image.mode not in _MODES:
        raise ImageError(f"pixels of mode {image.mode} are not supported: save as 8 or 16 bit RGB")
    image.load()  # for a transparent colour behind the pixels
    mode = _MODES[image.mode]
    if image.has_transparency_data and not mode.endswith("A"):
        mode = "LA" if mode == "L" else "RGBA"
    if image.mode == "CMYK":
        convert = _cmyk_to_srgb(image)
        how = "by its ICC profile" if convert else "without a profile, so they are approximate"
        note = f"its CMYK colours are converted to sRGB {how}"
        return Pixels(*_planes(image, mode, convert), grey=False, note=note)
    return Pixels(*_planes(image, mode), grey=mode.startswith("L"))


def _planes(
    image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image] | None = None
) -> tuple[Uint8, Uint8 | None]:
    """Copy to numpy in bands of rows, so that Pillow makes no second copy of the whole image.

    ``mode``, one of L, LA, RGB, RGBA, is what ``convert`` makes of a band.
    """
    image.load()  # a TIFF turns itself upright now, which may swap its sides
    width, height = image.size
    image_HWC = np.empty((height, width, 3), np.uint8)
    alpha_HW = np.empty((height, width), np.uint8) if mode.endswith("A") else None
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        band = band.convert(mode) if convert is None else convert(band)
        part_HWC = np.atleast_3d(np.asarray(band))
        if alpha_HW is not None:
            alpha_HW[top : top + rows] = part_HWC[..., -1]
            part_HWC = part_HWC[..., :-1]
        image_HWC[top : top + rows] = part_HWC  # repeats a single channel
    return image_HWC, alpha_HW


def _cmyk_to_srgb(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """Convert by the embedded profile; None, which is Pillow's plain formula, without one."""
    icc = image.info.get("icc_profile")
    if not icc:
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            "CMYK",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return None

    def convert(band: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(band, transform)
        assert converted is not None  # it is None in place only
        return converted

    return convert


def _grey_16(image: Image.Image) -> Pixels:
    grey_HW = np.asarray(image).astype(np.uint16)  # native byte order
    tags = getattr(image, "tag_v2", {})
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        grey_HW = ~grey_HW  # white is zero, which Pillow heeds for 8 bits alone
    alpha_HW = _key_alpha(grey_HW[..., None], image.info.get("transparency"))
    return Pixels(np.repeat(grey_HW[..., None], 3, axis=-1), alpha_HW, grey=True)


def _grey_alpha_16(image: ImageFile.ImageFile) -> Pixels:
    _rename(image, lambda raw: "RGBA")  # four bytes a pixel: they fit one image as they are
    bytes_HWC, low_HW = _planes(image, "RGBA")
    assert low_HW is not None
    grey_HW = _join(bytes_HWC[..., 0], bytes_HWC[..., 1])
    alpha_HW = _join(bytes_HWC[..., 2], low_HW)
    return Pixels(np.repeat(grey_HW[..., None], 3, axis=-1), alpha_HW, grey=True)


def _colour_16(image: ImageFile.ImageFile, again: ImageFile.ImageFile, raw: str) -> Pixels:
    def straight(name: str) -> str:  # as stored, where Pillow would divide high bytes by alpha
        return name.replace("RGBa", "RGBA")

    _rename(image, straight)
    _rename(again, lambda name: straight(name)[:-1] + _OTHER_ORDER[name[-1]])
    mode = "RGBA" if raw.startswith(("RGBA", "RGBa")) else "RGB"
    high_HWC, high_HW = _planes(image, mode)
    low_HWC, low_HW = _planes(again, mode)
    image_HWC = _join(high_HWC, low_HWC)
    if high_HW is None or low_HW is None:
        return Pixels(image_HWC, _key_alpha(image_HWC, image.info.get("transparency")), grey=False)
    alpha_HW = _join(high_HW, low_HW)
    if raw.startswith("RGBa"):
        image_HWC = _divide(image_HWC, alpha_HW)
    return Pixels(image_HWC, alpha_HW, grey=False)


def _raw(tile: ImageFile._Tile) -> str:
    return str(tile.args[0]) if isinstance(tile.args, tuple) else str(tile.args)


def _rename(image: ImageFile.ImageFile, name: Callable[[str], str]) -> None:
    """Change the raw mode of the tiles that wait for Pillow's decoder."""
    image.tile = [
        tile._replace(
            args=(name(_raw(tile)), *tile.args[1:])
            if isinstance(tile.args, tuple)
            else name(_raw(tile))
        )
        for tile in image.tile
    ]


def _join(high: Uint8, low: Uint8) -> Uint16:
    joined = high.astype(np.uint16)
    joined <<= 8
    joined |= low
    return joined


def _key_alpha(image_HWC: Uint16, key: int | tuple[int, ...] | None) -> Uint16 | None:
    """Opacity of an image whose pixels of one value are transparent (PNG's tRNS)."""
    if key is None:
        return None
    opaque_HW: npt.NDArray[np.bool_] = (image_HWC != key).any(axis=-1)
    return opaque_HW.astype(np.uint16) * np.uint16(65535)


def _divide(image_HWC: Uint16, alpha_HW: Uint16) -> Uint16:
    """Undo premultiplication, rounded; black where the opacity is 0."""
    alpha_HW1 = np.maximum(alpha_HW, 1).astype(np.uint32)[..., None]
    straight_HWC: npt.NDArray[np.uint32] = (
        image_HWC * np.uint32(65535) + alpha_HW1 // 2
    ) // alpha_HW1
    return np.minimum(straight_HWC, 65535).astype(np.uint16)
