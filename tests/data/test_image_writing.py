"""Writing photos: what is carried, and that a failure leaves nothing behind."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from cpl_edge.data.image_writing import WRITTEN_SUFFIXES
from cpl_edge.data.images import Photo, read_photo, write_photo
from cpl_edge.errors import ImageError

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (23, 31, 3), dtype=np.uint16)
ALPHA = RNG.integers(0, 256, (23, 31), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.ImageWidth] = 9999
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"maker\0note"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (47.0, 22.0, 1.5)
    return exif.tobytes()[6:]


def like(image_HWC: np.ndarray = RGB, **changes: object) -> Photo:
    return dataclasses.replace(Photo(image_HWC), **changes)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".bmp"])
def test_lossless_formats_are_exact(tmp_path: Path, suffix: str) -> None:
    notes = write_photo(tmp_path / f"a{suffix}", RGB, quality=100)
    photo = read_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.image_HWC, RGB)
    assert notes == () and photo.alpha_HW is None and not photo.grey


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_follow_the_quality(tmp_path: Path, suffix: str) -> None:
    errors = []
    for quality in (30, 95):
        path = tmp_path / f"{quality}{suffix}"
        write_photo(path, RGB, quality=quality)
        errors.append(np.abs(read_photo(path).image_HWC.astype(int) - RGB).mean())
    assert errors[1] < errors[0]
    if suffix != ".webp":  # whose chroma is always halved
        assert errors[1] < 6, "chroma of JPEG is not subsampled, even for noise"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_carried(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / f"a{suffix}", RGB, like=like(alpha_HW=ALPHA), quality=100)
    photo = read_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.alpha_HW, ALPHA)
    np.testing.assert_array_equal(photo.image_HWC, RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_16_bits_are_kept(tmp_path: Path, suffix: str, alpha: bool, grey: bool) -> None:
    image_HWC = np.repeat(DEEP[..., :1], 3, axis=-1) if grey else DEEP
    source = like(image_HWC, alpha_HW=DEEP[..., 2] if alpha else None, grey=grey)
    write_photo(tmp_path / f"a{suffix}", image_HWC, like=source)
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.bits == 16
    assert photo.grey == (grey and not (alpha and suffix == ".tif"))
    np.testing.assert_array_equal(photo.image_HWC, image_HWC)
    if alpha:
        np.testing.assert_array_equal(photo.alpha_HW, DEEP[..., 2])


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".jpg"])
def test_16_bits_are_rounded_where_8_must_do(tmp_path: Path, suffix: str) -> None:
    notes = write_photo(tmp_path / f"a{suffix}", DEEP, quality=100)
    assert len(notes) == 1 and "8 bits a channel" in notes[0]
    if suffix != ".jpg":
        expected = np.rint(DEEP / 257)
        np.testing.assert_array_equal(read_photo(tmp_path / f"a{suffix}").image_HWC, expected)


def test_alpha_follows_the_depth_of_the_image(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", RGB, like=like(DEEP, alpha_HW=DEEP[..., 0]))
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha_HW, np.rint(DEEP[..., 0] / 257))
    write_photo(tmp_path / "b.png", DEEP, like=like(alpha_HW=ALPHA))
    photo = read_photo(tmp_path / "b.png")
    np.testing.assert_array_equal(photo.alpha_HW, ALPHA.astype(int) * 257)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("image_HWC", [RGB, DEEP], ids=["8", "16"])
def test_profile_and_exif_are_carried(tmp_path: Path, suffix: str, image_HWC: np.ndarray) -> None:
    source = like(image_HWC, icc=SRGB, exif=exif_block())
    write_photo(tmp_path / f"a{suffix}", image_HWC, like=source)
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.icc == SRGB
    assert photo.image_HWC.shape == image_HWC.shape, "no size from the EXIF of another file"
    assert photo.exif is not None
    if suffix != ".tif":
        assert photo.exif == source.exif
    exif = Image.Exif()
    exif.load(photo.exif)
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif.get_ifd(ExifTags.IFD.Exif) == {
        ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09",
        ExifTags.Base.MakerNote: b"maker\0note",
    }
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitude: (47.0, 22.0, 1.5)}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    grey_HWC = np.repeat(RGB[..., :1], 3, axis=-1)
    notes = write_photo(tmp_path / f"a{suffix}", grey_HWC, like=like(grey_HWC, grey=True))
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.mode == "L" and notes == ()
        if suffix != ".jpg":
            np.testing.assert_array_equal(np.asarray(image), RGB[..., 0])


def test_luma_is_pillows(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", RGB, like=like(grey=True))
    expected = np.asarray(Image.fromarray(RGB).convert("L"))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").image_HWC[..., 0], expected)


@pytest.mark.parametrize("image_HWC", [RGB, DEEP], ids=["8", "16"])
def test_grey_profile_goes_with_grey_alone(tmp_path: Path, image_HWC: np.ndarray) -> None:
    source = like(image_HWC, grey=True, icc=GREY_PROFILE)
    assert write_photo(tmp_path / "a.png", image_HWC, like=source) == ()
    assert read_photo(tmp_path / "a.png").icc == GREY_PROFILE
    notes = write_photo(tmp_path / "a.webp", image_HWC, like=source)  # WebP knows only colour
    assert read_photo(tmp_path / "a.webp").icc is None
    assert any("ICC profile" in note for note in notes)


def test_notes_tell_what_a_format_cannot_hold(tmp_path: Path) -> None:
    source = like(DEEP, alpha_HW=DEEP[..., 0], icc=SRGB, exif=exif_block())
    notes = write_photo(tmp_path / "a.bmp", DEEP, like=source)
    assert [note.split()[2] for note in notes[:2]] == ["no", "8"], notes
    assert "ICC" in notes[2] and "EXIF" in notes[3] and len(notes) == 4
    notes = write_photo(tmp_path / "a.jpg", RGB, like=like(alpha_HW=ALPHA))
    assert notes == ("JPEG holds no transparency, so it is dropped: .png keeps it",)
    long = exif_block().ljust(65528, b"\0")
    assert "EXIF" in write_photo(tmp_path / "b.jpg", RGB, like=like(exif=long))[0]
    assert write_photo(tmp_path / "c.jpg", RGB, like=like(exif=long[:-1])) == ()
    assert read_photo(tmp_path / "c.jpg").exif == long[:-1]


def test_existing_file_is_refused_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(ImageError, match="exists already: choose another name or pass --overwrite"):
        write_photo(path, RGB)
    assert path.read_bytes() == b"precious"
    path.chmod(0o640)
    write_photo(path, RGB, overwrite=True)
    np.testing.assert_array_equal(read_photo(path).image_HWC, RGB)
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    write_photo(tmp_path / "a.png", RGB)
    write_photo(tmp_path / "b.png", 255 - RGB, overwrite=True)
    assert (tmp_path / "b.png").is_symlink()
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").image_HWC, 255 - RGB)


def test_new_file_follows_the_umask(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", RGB)
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_full_disk_leaves_the_old_file_alone(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    noise = RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file may grow beyond it
    try:
        with pytest.raises(ImageError, match=r"cannot be written: File too large$"):
            write_photo(path, noise, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(descriptor: int) -> None:
        assert len(list(tmp_path.iterdir())) == 1, "the temporary file is in the same folder"
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((ImageError, KeyboardInterrupt)):
        write_photo(tmp_path / "a.png", RGB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ImageError, match="cannot be written: Permission denied"):
        write_photo(tmp_path / "a.png", RGB)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.heic", "cannot write this kind of file: use one of .png, .jpg"),
        ("a", "cannot write this kind of file"),
        ("no/a.png", "there is no folder .*/no: make it first$"),
        ("folder.png", "is a folder: give the name of a file$"),
    ],
)
def test_impossible_target(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=message):
        write_photo(tmp_path / name, RGB)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.png"]


def test_sides_and_qualities_out_of_range(tmp_path: Path) -> None:
    wide = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(ImageError, match=r"WebP ends at 16383 pixels a side: use \.png or \.tif$"):
        write_photo(tmp_path / "a.webp", wide)
    write_photo(tmp_path / "a.webp", wide[:, 1:])
    with pytest.raises(ImageError, match="JPEG ends at 65500 pixels"):
        write_photo(tmp_path / "a.jpg", np.zeros((65501, 1, 3), np.uint8))
    with pytest.raises(ImageError, match="a quality of 0 is not possible: give 1 to 100"):
        write_photo(tmp_path / "b.jpg", RGB, quality=0)


def test_wrong_arrays_are_the_callers_mistake(tmp_path: Path) -> None:
    for wrong in (RGB.astype(np.float32), RGB[..., 0], np.dstack([RGB, ALPHA]), RGB[:0]):
        with pytest.raises(ValueError, match="image_HWC must be"):
            write_photo(tmp_path / "a.png", wrong)
    with pytest.raises(ValueError, match="like is"):
        write_photo(tmp_path / "a.png", RGB[:5], like=like())
    assert list(tmp_path.iterdir()) == []
