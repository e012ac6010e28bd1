"""Rows and summaries with stub models whose answers are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.data import coffee

from cpl_edge.evaluate.rows import Row, measure, summarise
from cpl_edge.evaluate.samples import find_samples
from cpl_edge.evaluate.suites import Suite
from cpl_edge.restore.outcome import Restored, Seconds

KNOWN = ("noise", "rain")


@pytest.fixture(scope="module")
def suite():
    noise = tuple({"kind": "gaussian", "label": f"noise {s}", "sigma": float(s)} for s in (15, 50))
    return Suite.model_validate(
        {"name": "t", "about": "t", "images": "clean", "degradations": noise}
    )


@pytest.fixture(scope="module")
def samples(suite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "clean").mkdir()
    for i in range(2):
        Image.fromarray(coffee()[i * 64 : i * 64 + 64, 200:280]).save(folder / f"clean/{i}.png")
    return find_samples(suite, folder)


class Stub:
    """A model that answers with what a function makes of its input."""

    def __init__(self, function, selected="noise"):
        self.function, self.selected = function, selected

    def restore_float(self, image_HWC, degradation="auto"):
        selected = self.selected if degradation == "auto" else degradation
        return Restored(self.function(image_HWC), None, selected, {}, 1, Seconds(total=0.5))


IDENTITY = Stub(lambda x_HWC: x_HWC)


def test_identity_changes_nothing(suite, samples):
    rows = [measure(sample, suite, IDENTITY) for sample in samples]
    assert [(r.image, r.label) for r in rows] == [
        (image, label) for label in ("noise 15", "noise 50") for image in "01"
    ]
    for row in rows:
        assert row.psnr_after == row.psnr_before and row.ssim_after == row.ssim_before
        assert row.gain == 0 and row.pixels == 64 * 80
    assert all(24.2 < row.psnr_before < 25.5 for row in rows[:2])
    assert all(14.1 < row.psnr_before < 15.5 for row in rows[2:])
    assert rows[0].ssim_before > rows[2].ssim_before
    for s in summarise(rows, KNOWN):
        assert s.gain == 0 and s.images == 2 and s.routed == 1
        assert s.ms_per_megapixel == pytest.approx(500 / (64 * 80 / 1e6))


def test_the_model_sees_float_rgb_and_its_output_is_clipped_but_not_rounded(suite, samples):
    degraded, clean = samples[0].load(16)

    def perfect(x_HWC):
        assert x_HWC.dtype == np.float32 and x_HWC.shape == (64, 80, 3)
        assert np.array_equal(x_HWC, degraded.astype(np.float32) / 255)
        output = clean.astype(np.float32) / 255
        # Beyond the range where clean is white, a third of a level off elsewhere.
        return np.where(output == 1, 7, output + np.float32(1 / 765))

    row = measure(samples[0], suite, Stub(perfect, selected=None))
    share = 1 - (clean == 255).mean()
    assert row.psnr_after == pytest.approx(20 * math.log10(765) - 10 * math.log10(share), abs=0.05)
    assert row.selected is None and row.psnr_before < 26


def test_the_forced_degradation_reaches_the_model(suite, samples):
    assert measure(samples[0], suite, IDENTITY, "rain").selected == "rain"


def test_ssim_only_where_asked(suite, samples):
    row = measure(samples[0], suite.model_copy(update={"metrics": ("psnr",)}), IDENTITY)
    assert row.ssim_before is None and row.ssim_after is None
    assert summarise([row], KNOWN)[0].ssim_after is None


def test_lpips_sees_rgb_as_it_is_compared(suite, samples):
    changes = {"channels": "y", "rounded": True, "border": 2}
    seen = []

    def distance(x_HWC, y_HWC):
        seen.append(x_HWC)
        assert x_HWC.shape == y_HWC.shape == (60, 76, 3)
        return float(np.abs(x_HWC - y_HWC).mean())

    plain = measure(samples[0], suite.model_copy(update=changes), IDENTITY)
    brighter = Stub(lambda x_HWC: x_HWC + np.float32(0.2 / 255))
    row = measure(samples[0], suite.model_copy(update=changes), brighter, lpips=distance)
    degraded, restored = seen
    assert np.array_equal(degraded, restored), "a fifth of a level is rounded away"
    assert row.lpips_before == row.lpips_after > 0
    assert (row.psnr_after, row.ssim_after) == (plain.psnr_after, plain.ssim_after)
    assert plain.lpips_before is None and plain.lpips_after is None


def test_lpips_is_averaged_by_degradation():
    rows = [
        replace(row("a", 20, 30), lpips_before=0.5, lpips_after=0.25),
        replace(row("b", 20, 30), lpips_before=0.25, lpips_after=0.0),
        replace(row("c", 20, 30, label="haze"), lpips_before=0.0, lpips_after=1.0),
    ]
    rain, haze = summarise(rows, KNOWN)
    assert (rain.lpips_before, rain.lpips_after) == (0.375, 0.125)
    assert (haze.lpips_before, haze.lpips_after) == (0, 1)
    (without,) = summarise([row("a", 20, 30)], KNOWN)
    assert without.lpips_before is None and without.lpips_after is None


def row(image, before, after, label="rain", selected="rain", degradation="rain", seconds=0.5):
    return Row(image, label, degradation, selected, before, after, 0.5, 0.75, seconds, 250_000)


def test_summary_of_known_rows():
    rows = [
        row("a", 20, 30),
        row("b", 25, 24, selected="noise"),
        row("c", 30, 33, seconds=1.0),
        row("d", 10, 10.5, label="haze", degradation="haze", selected="noise"),
    ]
    rain, haze = summarise(rows, KNOWN)
    assert (rain.label, rain.images, haze.label, haze.images) == ("rain", 3, "haze", 1)
    assert (rain.psnr_before, rain.psnr_after, rain.gain) == (25, 29, 4)
    assert (rain.ssim_before, rain.ssim_after) == (0.5, 0.75)
    assert (rain.worst_image, rain.worst_gain) == ("b", -1)
    assert rain.routed == pytest.approx(2 / 3)
    assert rain.ms_per_megapixel == pytest.approx(2000 / 0.75)
    assert haze.routed is None, "a model that knows no haze cannot route it"


def test_routing_is_judged_only_where_the_model_selects():
    assert summarise([row("a", 20, 30)], ())[0].routed is None
    assert summarise([row("a", 20, 30, selected=None)], KNOWN)[0].routed is None


def test_equal_infinities_are_no_gain():
    assert row("a", math.inf, math.inf).gain == 0
    assert row("a", math.inf, 40).gain == -math.inf


def test_selections_are_counted():
    rows = [
        Row(name, "noise 15", "noise", selected, 20.0, 25.0, None, None, 0.5, 100)
        for name, selected in zip("abcd", ("rain", "noise", "rain", "haze"), strict=True)
    ]
    (summary,) = summarise(rows, KNOWN)
    assert summary.selected == {"rain": 2, "noise": 1, "haze": 1}
    assert next(iter(summary.selected)) == "rain" and summary.routed == 0.25


def test_harm_to_clean_images_has_a_worst_one():
    rows = [
        Row(name, "photo", "clean", "noise", math.inf, after, 1.0, 0.9, 0.5, 100)
        for name, after in (("a", 40.0), ("b", 31.0), ("c", 35.0))
    ]
    (summary,) = summarise(rows, KNOWN)
    assert (summary.worst_image, summary.worst_psnr) == ("b", 31.0)
    assert summary.psnr_before == math.inf and summary.gain == -math.inf
    assert summary.psnr_after == pytest.approx(106 / 3) and summary.routed is None
