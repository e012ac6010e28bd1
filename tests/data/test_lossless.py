"""Our own PNG and TIFF, read by other programs' rules."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

from cpl_edge.data import lossless

DEEP = np.random.default_rng(2).integers(0, 65536, (50, 41, 4), dtype=np.uint16)
CHANNELS = [1, 2, 3, 4]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("strip", [2**20, 1000], ids=["one part", "many parts"])
def test_png_by_the_specification(
    channels: int, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lossless, "_STRIP", strip)
    file = io.BytesIO()
    lossless.write_png_16(file, DEEP[..., :channels], b"profile", b"block")
    data = file.getvalue()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        assert checksum == struct.pack(">I", zlib.crc32(name + body))
        chunks.append((name, body))
        at += 12 + length
    names = [name for name, _ in chunks]
    assert names[:3] == [b"IHDR", b"iCCP", b"eXIf"] and names[-1] == b"IEND"
    assert set(names[3:-1]) == {b"IDAT"}
    assert zlib.decompress(chunks[1][1].partition(b"\0\0")[2]) == b"profile"
    lines = np.frombuffer(
        zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")), np.uint8
    ).reshape(50, -1)
    assert (lines[:, 0] == 1).all()  # filter Sub: each byte is a sum along its row, modulo 256
    samples = np.cumsum(lines[:, 1:].reshape(50, 41, -1), axis=1, dtype=np.uint8)
    np.testing.assert_array_equal(samples.view(">u2"), DEEP[..., :channels])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strip", [2**20, 1000], ids=["one strip", "many strips"])
def test_tiff_by_tifffile(
    channels: int, dtype: type, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(lossless, "_STRIP", strip)
    pixels_HWC = DEEP[..., :channels].astype(dtype)
    file = io.BytesIO()
    lossless.write_tiff(file, pixels_HWC, b"profile", None)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        assert page.tags["InterColorProfile"].value == b"profile"
        assert page.photometric.name == ("RGB" if channels > 2 else "MINISBLACK")
        assert page.extrasamples == ((2,) if channels in (2, 4) else ())
        assert (len(page.dataoffsets) > 1) == (strip == 1000)
        decoded = page.asarray().reshape(pixels_HWC.shape)
    np.testing.assert_array_equal(decoded, pixels_HWC)
