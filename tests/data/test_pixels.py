"""Every kind of pixel, against values that were put into the file by other means."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpl_edge.data.images import read_photo
from cpl_edge.errors import ImageError

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (21, 34), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (21, 34), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (21, 34, 4), dtype=np.uint16)

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7.append((1, 0, 2, 1))  # first row, first column, step of rows, step of columns


def png_16(
    pixels_HWC: np.ndarray, colour_type: int, *, adam7: bool = False, key: bytes = b""
) -> bytes:
    """Encode by hand, without filters, so that no library decides what the values are."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = pixels_HWC.shape[:2]
    rows = b""
    for top, left, down, right in ADAM7 if adam7 else [(0, 0, 1, 1)]:
        for row_WC in pixels_HWC[top::down, left::right].astype(">u2"):
            rows += b"\0" + row_WC.tobytes() if row_WC.size else b""
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, int(adam7))
    key = chunk(b"tRNS", key) if key else b""
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + data + chunk(b"IEND", b"")


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_rgb(tmp_path: Path, suffix: str) -> None:
    photo = read_photo(save(tmp_path / f"a{suffix}", Image.fromarray(RGB)))
    np.testing.assert_array_equal(photo.image_HWC, RGB)
    assert photo.image_HWC.dtype == np.uint8 and photo.image_HWC.flags.writeable
    assert (photo.alpha_HW, photo.grey, photo.bits) == (None, False, 8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_grey(tmp_path: Path, suffix: str) -> None:
    photo = read_photo(save(tmp_path / f"a{suffix}", Image.fromarray(GREY)))
    np.testing.assert_array_equal(photo.image_HWC, np.stack([GREY] * 3, axis=-1))
    assert photo.alpha_HW is None and photo.grey


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(np.dstack([GREY, ALPHA]))
    photo = read_photo(save(tmp_path / f"a{suffix}", image))
    np.testing.assert_array_equal(photo.image_HWC, np.stack([GREY] * 3, axis=-1))
    np.testing.assert_array_equal(photo.alpha_HW, ALPHA)
    assert photo.grey


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_rgb_with_alpha(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    options = {"lossless": True, "exact": True} if name == "a.webp" else {}
    photo = read_photo(save(tmp_path / name, image, **options))
    np.testing.assert_array_equal(photo.image_HWC, RGB)
    np.testing.assert_array_equal(photo.alpha_HW, ALPHA)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_bit(tmp_path: Path, suffix: str) -> None:
    photo = read_photo(save(tmp_path / f"a{suffix}", Image.fromarray(GREY > 99)))
    np.testing.assert_array_equal(photo.image_HWC[..., 1], np.where(GREY > 99, 255, 0))
    assert photo.grey


def test_palette_and_its_transparent_entries(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 3, "P")
    image.putpalette([9, 8, 7, 60, 50, 40, 200, 100, 0])
    path = save(tmp_path / "a.png", image)
    photo = read_photo(path)
    colours = np.array([[9, 8, 7], [60, 50, 40], [200, 100, 0]], np.uint8)
    np.testing.assert_array_equal(photo.image_HWC, colours[GREY % 3])
    assert photo.alpha_HW is None and not photo.grey
    photo = read_photo(save(path, image, transparency=bytes([255, 0, 77])))
    np.testing.assert_array_equal(photo.image_HWC, colours[GREY % 3])
    np.testing.assert_array_equal(photo.alpha_HW, np.array([255, 0, 77])[GREY % 3])


def test_transparent_colour(tmp_path: Path) -> None:
    key, grey_key = RGB[4, 5], GREY[4, 5]
    image = Image.fromarray(RGB)
    photo = read_photo(save(tmp_path / "a.png", image, transparency=tuple(key.tolist())))
    np.testing.assert_array_equal(photo.image_HWC, RGB)
    np.testing.assert_array_equal(photo.alpha_HW, np.where((key == RGB).all(-1), 0, 255))
    image = Image.fromarray(GREY)
    photo = read_photo(save(tmp_path / "b.png", image, transparency=int(grey_key)))
    np.testing.assert_array_equal(photo.alpha_HW, np.where(grey_key == GREY, 0, 255))
    assert photo.grey


@pytest.mark.parametrize("adam7", [False, True])
@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_png_of_16_bits_is_exact(tmp_path: Path, colour_type: int, adam7: bool) -> None:
    channels = {0: [0], 2: [0, 1, 2], 4: [0, 3], 6: [0, 1, 2, 3]}[colour_type]
    path = tmp_path / "a.png"
    path.write_bytes(png_16(DEEP[..., channels], colour_type, adam7=adam7))
    photo = read_photo(path)
    colour_HWC = DEEP[..., :3] if colour_type in (2, 6) else np.stack([DEEP[..., 0]] * 3, axis=-1)
    np.testing.assert_array_equal(photo.image_HWC, colour_HWC)
    assert photo.image_HWC.dtype == np.uint16 and photo.bits == 16
    assert photo.grey == (colour_type in (0, 4))
    if colour_type in (4, 6):
        np.testing.assert_array_equal(photo.alpha_HW, DEEP[..., 3])
    else:
        assert photo.alpha_HW is None


@pytest.mark.parametrize("colour_type", [0, 2])
def test_png_of_16_bits_with_a_transparent_colour(tmp_path: Path, colour_type: int) -> None:
    pixels = DEEP[..., : 1 + colour_type].copy()
    pixels[3, 4], pixels[3, 5] = 0x1234, 0x1299  # the second differs in its low byte alone
    path = tmp_path / "a.png"
    path.write_bytes(png_16(pixels, colour_type, key=b"\x12\x34" * (1 + colour_type)))
    alpha_HW = read_photo(path).alpha_HW
    assert alpha_HW is not None and alpha_HW[3, 4] == 0
    assert np.count_nonzero(alpha_HW == 65535) == alpha_HW.size - 1


TIFF_LAYOUTS: list[dict[str, Any]] = [
    {},
    {"rowsperstrip": 5},
    {"tile": (16, 16)},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True, "tile": (16, 16)},
]


@pytest.mark.parametrize("layout", TIFF_LAYOUTS, ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("alpha", [None, "unassalpha", "assocalpha", "unspecified"])
def test_tiff_of_16_bits_is_exact(
    tmp_path: Path, layout: dict[str, Any], order: str, alpha: str | None
) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels = DEEP if alpha else DEEP[..., :3]
    if alpha == "assocalpha":  # premultiplied colours are not above their opacity
        pixels = np.dstack([np.minimum(DEEP[..., :3], DEEP[..., 3:]), DEEP[..., 3]])
    extra = {"extrasamples": [alpha]} if alpha else {}
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels, photometric="rgb", byteorder=order, metadata=None, **layout, **extra
    )
    photo = read_photo(path)
    expected = pixels[..., :3]
    if alpha == "assocalpha":
        expected = np.rint(expected * (65535.0 / np.maximum(pixels[..., 3:], 1)))
    np.testing.assert_array_equal(photo.image_HWC, expected)
    if alpha in ("unassalpha", "assocalpha"):
        np.testing.assert_array_equal(photo.alpha_HW, pixels[..., 3])
    else:
        assert photo.alpha_HW is None


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [8, 16])
def test_grey_tiff_of_either_polarity(tmp_path: Path, photometric: str, bits: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    stored = GREY if bits == 8 else DEEP[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, metadata=None)
    photo = read_photo(tmp_path / "a.tif")
    expected = ~stored if photometric == "miniswhite" else stored
    np.testing.assert_array_equal(photo.image_HWC, np.stack([expected] * 3, axis=-1))
    assert photo.grey and photo.bits == bits


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (DEEP[..., :3].transpose(2, 0, 1), {"planarconfig": "separate"}, "separate planes"),
        (RGB.astype(np.float32), {}, "unsupported TIFF"),
        (GREY.astype(np.float32), {"photometric": "minisblack"}, "32 bits a channel"),
        (GREY.astype(np.int32), {"photometric": "minisblack"}, "32 bits a channel"),
        (GREY.astype(np.int16), {"photometric": "minisblack"}, "mode I are not supported"),
    ],
    ids=["planar", "float colour", "float grey", "int32", "int16"],
)
def test_unsupported_tiff(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], message: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    options = {"photometric": "rgb", "metadata": None} | options
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(pixels), **options)
    with pytest.raises(ImageError, match=message):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(RGB).convert(mode), quality=95, **options)
    photo = read_photo(path)
    decoded = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
    np.testing.assert_array_equal(photo.image_HWC, decoded)
    assert photo.grey == (mode == "L")


def cmyk_profile() -> bytes:
    """The smallest CMYK profile (ICC.1:2001-04): any cyan is mid grey, any black is black."""
    lab = {0: (255, 128, 128), 1: (128, 128, 128), 2: (0, 128, 128)}  # L* 100, 50, 0
    nodes = [(c, k) for c in (0, 1) for _ in range(4) for k in (0, 1)]
    table = b"".join(bytes(lab[2 if k else 1 if c else 0]) for c, k in nodes)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    text = b"text\0\0\0\0none\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(4 + 4 + 2 + 1 + 67)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags, body, offset = b"", b"", 128 + 4 + 12 * 4
    for tag, data in ((b"desc", name), (b"cprt", text), (b"wtpt", white), (b"A2B0", lut)):
        tags += tag + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 4) + tags + body


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    cyan = Image.new("CMYK", (32, 24), (255, 0, 0, 0))
    plain = read_photo(save(tmp_path / f"a{suffix}", cyan))
    assert abs(plain.image_HWC.astype(int) - [0, 255, 255]).max() <= 2
    assert plain.icc is None and "without a profile" in plain.notes[0]
    managed = read_photo(save(tmp_path / f"b{suffix}", cyan, icc_profile=cmyk_profile()))
    assert abs(managed.image_HWC.astype(int) - 119).max() <= 3  # L* 50 in sRGB
    assert managed.icc is None, "the profile is of CMYK, the pixels are sRGB by now"
    assert len(managed.notes) == 1 and "by its ICC profile" in managed.notes[0]
    broken = read_photo(save(tmp_path / f"c{suffix}", cyan, icc_profile=b"no profile at all"))
    assert "without a profile" in broken.notes[0] and broken.icc is None


def test_pictures_higher_than_a_band_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpl_edge.data.pixels._BAND", 34 * 4)  # four rows: the last band has one
    photo = read_photo(save(tmp_path / "a.png", Image.fromarray(np.dstack([RGB, ALPHA]))))
    np.testing.assert_array_equal(photo.image_HWC, RGB)
    np.testing.assert_array_equal(photo.alpha_HW, ALPHA)
