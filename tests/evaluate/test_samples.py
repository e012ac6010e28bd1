"""A suite's images: the noise protocol, seeds by name, pairs, and what is missing."""

import zlib

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from cpl_edge.errors import ImageError, UserError
from cpl_edge.evaluate.degraded import add_gaussian, synthesise
from cpl_edge.evaluate.samples import available, find_samples, seed_of
from cpl_edge.evaluate.suites import Suite, load_suite

NOISE = {"kind": "gaussian", "label": "noise 25", "sigma": 25}
PAIRS = {"kind": "pairs", "label": "Rain", "degradation": "rain", "input": "in", "target": "gt"}


def suite(*degradations, **values):
    return Suite.model_validate({"name": "t", "about": "t", "degradations": degradations, **values})


def save(path, image_HWC):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(path)


@pytest.fixture
def data(tmp_path):
    """Three clean images in clean/, three pairs in in/ and gt/."""
    for i, name in enumerate("abc"):
        clean = np.ascontiguousarray(chelsea()[i * 20 : i * 20 + 50, 50 : 50 + 66])
        save(tmp_path / "clean" / f"{name}.png", clean)
        save(tmp_path / "gt" / f"{name}.png", clean)
        save(tmp_path / "in" / f"{name}.png", 255 - clean)
    return tmp_path


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_noise_has_its_sigma(sigma):
    grey = np.full((400, 400, 3), 128, np.uint8)  # clipped only beyond 2.5 sigma
    noise = add_gaussian(grey, sigma, seed_of("x")).astype(float) - 128
    # What clipping at 0 and 255 takes off a sigma of 50.
    draws = np.random.default_rng(1).normal(0, sigma, 10**6)
    expected = np.clip(np.rint(128 + draws), 0, 255).std()
    assert noise.std() == pytest.approx(expected, rel=0.005)
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert abs(noise.mean()) < 0.01 * sigma
    # Independent between channels and neighbours.
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


def test_noise_is_clipped_and_rounded_not_wrapped():
    for level in (0, 255):
        noisy = add_gaussian(np.full((64, 64, 3), level, np.uint8), 50, seed=1)
        assert noisy.dtype == np.uint8
        assert (noisy == level).mean() == pytest.approx(0.5, abs=0.02)
        assert abs(noisy.mean() - level) == pytest.approx(50 / np.sqrt(2 * np.pi), rel=0.05)
    # Rounding, not cutting off: noise far below half a level changes nothing.
    image = np.full((64, 64, 3), 100, np.uint8)
    assert np.array_equal(add_gaussian(image, 0.05, seed=1), image)


def test_seed_is_the_same_on_every_machine():
    assert seed_of("101085") == zlib.crc32(b"101085") == 4061515681


def test_noise_is_the_same_on_every_machine():
    first = add_gaussian(np.full((2, 2, 3), 128, np.uint8), 25, seed_of("101085"))
    assert first.ravel().tolist() == [136, 118, 132, 128, 120, 103, 93, 116, 147, 116, 78, 142]


def test_an_image_is_degraded_alike_whatever_else_runs(data):
    both = suite(NOISE, NOISE | {"label": "noise 50", "sigma": 50}, images="clean")
    samples = find_samples(both, data)
    assert [(s.name, s.degradation.label) for s in samples] == [
        (name, label) for label in ("noise 25", "noise 50") for name in "abc"
    ]
    alone = find_samples(suite(NOISE, images="clean"), data)
    (data / "clean" / "a.png").unlink()
    fewer = find_samples(suite(NOISE, images="clean"), data)
    degraded_b = alone[1].load(16)[0]
    assert np.array_equal(samples[1].load(16)[0], degraded_b)
    assert fewer[0].name == "b" and np.array_equal(fewer[0].load(16)[0], degraded_b)
    assert not np.array_equal(alone[2].load(16)[0], degraded_b)


def test_loading_crops_and_keeps_the_clean_image(data):
    degraded, clean = find_samples(suite(NOISE, images="clean"), data)[0].load(16)
    assert degraded.shape == clean.shape == (48, 64, 3)
    assert np.array_equal(clean, chelsea()[1:49, 51:115])
    assert 20 < (degraded.astype(float) - clean).std() < 27


def test_synthesis_is_what_degrade_returns():
    torch = pytest.importorskip("torch")
    from cpl_edge.data.degradations import degrade

    image = chelsea()[:64, :80]
    x_BCHW = torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255))
    y_BCHW = degrade(x_BCHW, "noise", torch.Generator().manual_seed(7))
    expected = y_BCHW[0].numpy().transpose(1, 2, 0) * 255
    assert np.abs(synthesise(image, "noise", 7) - expected).max() < 1e-3


def test_synthesis_is_seeded_and_8_bit():
    pytest.importorskip("torch")
    image = chelsea()[:64, :64]
    first = synthesise(image, "haze+rain", 7)
    assert first.dtype == np.uint8 and first.shape == image.shape
    assert np.array_equal(first, synthesise(image, "haze+rain", 7))
    assert not np.array_equal(first, synthesise(image, "haze+rain", 8))
    assert not np.array_equal(first, synthesise(image, "haze", 7))
    # Low light darkens: neither channels nor range are mixed up.
    assert synthesise(image, "lowlight", 7).mean() < 0.7 * image.mean()
    with pytest.raises(UserError, match="no degradation 'fog'"):
        synthesise(image, "fog", 7)


def test_pairs_are_read_as_input_and_target(data):
    samples = find_samples(suite(PAIRS), data)
    assert [s.name for s in samples] == ["a", "b", "c"]
    degraded, clean = samples[1].load(1)
    assert np.array_equal(clean, chelsea()[20:70, 50:116])
    assert np.array_equal(degraded, 255 - clean)


@pytest.mark.parametrize(
    ("gone", "left", "place"), [("gt", "in", r"gt/b\.\*: add it"), ("in", "gt", "in.*/in: add it")]
)
def test_a_missing_counterpart_is_named(data, gone, left, place):
    (data / gone / "b.png").unlink()
    message = rf"{left}/b\.png has no counterpart .*{place}$"
    with pytest.raises(UserError, match=message):
        find_samples(suite(PAIRS), data)


def test_pairs_of_different_sizes_are_refused(data):
    save(data / "gt" / "a.png", np.zeros((50, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"in/a\.png is 66x50 pixels but its target 64x50"):
        find_samples(suite(PAIRS), data)[0].load(1)


def test_limits(data):
    assert len(find_samples(suite(PAIRS, NOISE, images="clean"), data, limit=2)) == 4
    assert len(find_samples(suite(PAIRS, limit=1), data)) == 1
    assert len(find_samples(suite(PAIRS, limit=1), data, limit=2)) == 2


def test_missing_data(data, monkeypatch, tmp_path):
    cbsd68 = load_suite("cbsd68")
    monkeypatch.delenv("CPL_EDGE_DATA", raising=False)
    message = "set --data or CPL_EDGE_DATA to a folder that holds cbsd68/ with the 68 clean"
    with pytest.raises(UserError, match=f"'cbsd68' reads your images: {message}"):
        find_samples(cbsd68, None)
    with pytest.raises(UserError, match=f"no folder .*nowhere/cbsd68: {message}"):
        find_samples(cbsd68, tmp_path / "nowhere")
    (tmp_path / "cbsd68").mkdir()
    with pytest.raises(UserError, match="cbsd68 holds no images"):
        find_samples(cbsd68, tmp_path)
    monkeypatch.setenv("CPL_EDGE_DATA", str(data))
    assert len(find_samples(suite(NOISE, images="clean"), None)) == 3


def test_two_files_of_one_name_are_refused(data):
    save(data / "clean" / "a.jpg", np.zeros((50, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.png and a\.jpg have one name"):
        find_samples(suite(NOISE, images="clean"), data)


def test_16_bit_images_are_refused(data):
    path = data / "clean" / "a.png"
    Image.fromarray(np.zeros((50, 64), np.uint16)).save(path)
    with pytest.raises(ImageError, match="16 bits a channel"):
        find_samples(suite(NOISE, images="clean"), data)[0].load(1)


def test_bundled_photos_need_no_folder(monkeypatch):
    monkeypatch.delenv("CPL_EDGE_DATA", raising=False)
    samples = find_samples(load_suite("bundled"), None, limit=1)
    assert [s.name for s in samples] == ["astronaut"] * 5
    assert samples[0].load(16)[1].shape == (512, 512, 3)


def test_without_a_folder_the_bundled_photos_take_their_place(data, monkeypatch):
    monkeypatch.delenv("CPL_EDGE_DATA", raising=False)
    wanted = suite(NOISE, images="clean", fallback=True)
    chosen, (note,) = available(wanted, None)
    assert note == "no --data FOLDER: the photos inside scikit-image instead of clean/"
    assert chosen.images == "bundled" and "bundled photos" in chosen.about
    assert len(find_samples(chosen, None)) == 5
    # A folder that was named is meant.
    assert available(wanted, data) == (wanted, ())
    monkeypatch.setenv("CPL_EDGE_DATA", str(data / "nowhere"))
    assert available(wanted, None) == (wanted, ())
    with pytest.raises(UserError, match=r"no folder .*nowhere/clean"):
        find_samples(wanted, None)
    # Without fallback, no suite changes.
    monkeypatch.delenv("CPL_EDGE_DATA")
    assert available(load_suite("cbsd68"), None) == (load_suite("cbsd68"), ())


def test_images_of_a_degradations_own(data):
    save(data / "other" / "x.png", np.zeros((50, 64, 3), np.uint8))
    both = suite(NOISE, NOISE | {"label": "other", "images": "other"}, images="clean")
    assert both.folders == ("clean", "other")
    assert [s.name for s in find_samples(both, data)] == ["a", "b", "c", "x"]


def test_hidden_files_are_no_images(data):
    (data / "in" / "._a.png").write_bytes(b"x")
    assert [s.name for s in find_samples(suite(PAIRS), data)] == ["a", "b", "c"]


def test_too_small_for_the_suites_window(data):
    small = suite(NOISE, images="clean", crop_multiple=1, border=20, ssim_window="gaussian")
    with pytest.raises(UserError, match="at least 51 pixels"):
        find_samples(small, data)[0].load(1)
