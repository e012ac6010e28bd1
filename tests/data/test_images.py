"""Reading photos: orientation, metadata, and what is said about every kind of bad file."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, PngImagePlugin

from cpl_edge.data.images import IMAGE_SUFFIXES, is_image, read_photo, write_photo
from cpl_edge.errors import ImageError, UserError

RGB = np.random.default_rng(3).integers(0, 256, (24, 35, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# Name of a file, and how Pillow is to write it.
KINDS: dict[str, dict[str, Any]] = {
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.png": {},
    "a.webp": {},
    "lossless.webp": {"lossless": True},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
    "a.bmp": {},
}


def encode(name: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    file.name = name  # by which Pillow knows the format
    (image or Image.fromarray(RGB)).save(file, **(KINDS.get(name, {}) | options))
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG of 70 bytes that claims any size."""
    file = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        file += struct.pack(">I", len(data)) + name + data
        file += struct.pack(">I", zlib.crc32(name + data))
    return file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "lossless.webp", "a.tif", "lzw.tif"])
def test_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / name
    path.write_bytes(encode(name, exif=exif.tobytes()))
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape == ((24, 35, 3) if orientation < 5 else (35, 24, 3))
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.image_HWC, upright)
    assert photo.image_HWC.flags.c_contiguous
    write_photo(tmp_path / "out.png", photo.image_HWC, like=photo)
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png").image_HWC, upright)


def test_alpha_and_16_bits_turn_with_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera stood on its right side
    rgba = np.dstack([RGB, RGB[..., 0]])
    (tmp_path / "a.png").write_bytes(encode("a.png", Image.fromarray(rgba), exif=exif.tobytes()))
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.image_HWC[0, :, 0], RGB[::-1, 0, 0])
    np.testing.assert_array_equal(photo.alpha_HW, photo.image_HWC[..., 0])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "lzw.tif"])
def test_profile_is_kept_byte_for_byte(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encode(name, icc_profile=SRGB))
    photo = read_photo(tmp_path / name)
    assert photo.icc == SRGB and photo.notes == ()


@pytest.mark.parametrize("profile", [SRGB[:200], b"x" * 300, SRGB[:16] + b"CMYK" + SRGB[20:]])
def test_profile_for_other_pixels_is_dropped_and_told(tmp_path: Path, profile: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(encode("a.jpg", icc_profile=profile))
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.icc is None and "ICC profile" in photo.notes[0]


def test_damaged_exif_does_not_stop_a_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode("a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12"))
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.exif is None and "EXIF" in photo.notes[0]


@pytest.mark.parametrize(
    ("name", "file_format"),
    [("a.png", "PNG"), ("a.webp", "WEBP"), ("a.tif", "TIFF"), ("a.jpg", "MPO")],
)
def test_first_of_several_pictures(tmp_path: Path, name: str, file_format: str) -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    options = {"save_all": True, "append_images": [second]}
    options |= {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, file_format, **options)
    photo = read_photo(tmp_path / name)
    assert photo.format == file_format
    assert photo.notes == ("only the first of its 2 pictures is read",)
    if file_format == "MPO":  # two JPEGs in one file, as phones write them
        errors = [np.abs(photo.image_HWC.astype(int) - other).mean() for other in (RGB, 255 - RGB)]
        assert errors[0] < errors[1] / 2
    else:
        np.testing.assert_array_equal(photo.image_HWC, RGB)


@pytest.mark.parametrize("name", KINDS)
def test_cut_off_file(tmp_path: Path, name: str) -> None:
    """A cut is an error, unless all pixels are there and only the file's last bytes are not."""
    data = encode(name)
    path = tmp_path / name
    path.write_bytes(data)
    whole_HWC = read_photo(path).image_HWC
    errors = 0
    cuts = [*range(1, len(data), len(data) // 40), *range(len(data) - 30, len(data))]
    for cut in cuts:
        path.write_bytes(data[:cut])
        try:
            np.testing.assert_array_equal(read_photo(path).image_HWC, whole_HWC)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            errors += 1
    assert errors >= 40


@pytest.mark.parametrize("name", KINDS)
def test_damaged_bytes_end_in_a_photo_or_an_image_error(tmp_path: Path, name: str) -> None:
    data, path, dice = encode(name), tmp_path / name, random.Random(name)
    for _ in range(80):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 3, 10))):
            damaged[dice.randrange(min(len(data), dice.choice((64, 10**6))))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read_photo(path, max_megapixels=2)
        except ImageError as error:
            assert "\n" not in str(error)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
CR2 = b"II*\0\x10\0\0\0CR\x02\0" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "is empty (0 bytes): copy or download it again"),
        ("text.png", b"Dear diary,\n", "not an image (JPEG, PNG, WebP, TIFF and BMP are)"),
        ("a.heic", HEIC, "HEIC is not supported: convert it to PNG or JPEG first"),
        ("heic.jpg", HEIC, "HEIC is not supported: convert it to PNG or JPEG first"),
        ("a.gif", encode("a.gif"), "GIF is not supported: convert it to PNG or JPEG first"),
        ("a.cr2", CR2, "camera raw is not supported: develop it to a TIFF or JPEG first"),
        (
            "half.png",
            encode("a.png")[:500],
            "damaged or cut off (image file is truncated): copy or download it again",
        ),
        (
            "start.jpg",
            encode("a.jpg")[:3],
            "a damaged, cut off or unsupported JPEG file: copy or download it again",
        ),
        (
            "bomb.png",
            png_of(30000, 30000),
            "30000 x 30000 pixels (900 megapixels) are over the limit of 200 megapixels: "
            "raise it with --max-megapixels if you trust the file",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:12] else "",
)
def test_messages(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_photo(path)
    assert str(caught.value) == f"{path}: {reason}"
    assert isinstance(caught.value, ImageError) and caught.value.exit_code == 2


def test_missing_file_folder_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no\.png: there is no such file$"):
        read_photo(tmp_path / "no.png")
    with pytest.raises(ImageError, match=r"is a folder, not an image$"):
        read_photo(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match=r"is not a regular file$"):
            read_photo(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode("a.png"))
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError, match=r"cannot be read: Permission denied$"):
        read_photo(tmp_path / "a.png")


def test_text_that_explodes(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 2**21, zip=True)
    (tmp_path / "a.png").write_bytes(encode("a.png", pnginfo=info))
    with pytest.raises(ImageError, match=r"suspiciously large: save it again without them$"):
        read_photo(tmp_path / "a.png")


def test_camera_raw_inside_tiff(tmp_path: Path) -> None:
    """DNG and NEF open as TIFF, but what Pillow finds first is a thumbnail."""
    for name, tag, value in (("a.dng", 50706, b"\1\4\0\0"), ("a.nef", 254, 1)):
        Image.fromarray(RGB).save(tmp_path / name, "TIFF", tiffinfo={tag: value})
        with pytest.raises(ImageError, match=r"camera raw is not supported.*only a preview"):
            read_photo(tmp_path / name)


def test_a_name_cannot_break_the_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines \x1b[31m.png"
    path.write_bytes(b"text")
    with pytest.raises(ImageError) as caught:
        read_photo(path)
    assert str(caught.value).isprintable()


def test_limit_of_megapixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(encode("a.tif"))  # 840 pixels; Pillow checks a TIFF's size twice
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # is not asked
    assert read_photo(path, max_megapixels=0.00084).image_HWC.size == RGB.size
    with pytest.raises(ImageError, match=r"24 pixels \(0 megapixels\) are over the limit"):
        read_photo(path, max_megapixels=0.00083)
    assert Image.MAX_IMAGE_PIXELS == 10, "Pillow's own limit is as it was"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_read_at_the_same_time(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(encode("a.png"))
    seen: list[bool] = []

    def read() -> None:
        for _ in range(20):
            seen.append(bool((read_photo(tmp_path / "a.png").image_HWC == RGB).all()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 80 and limit == Image.MAX_IMAGE_PIXELS


def test_names_of_images() -> None:
    assert all(is_image(f"photo{suffix.upper()}") for suffix in IMAGE_SUFFIXES)
    assert not any(
        is_image(name) for name in ("a.txt", "a.heic", "a.gif", "jpg", ".png", "a.png.part")
    )
