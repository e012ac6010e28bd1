"""The conventions of the papers' tables: Y channel, borders, rounding, SSIM windows."""

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio

from cpl_edge.evaluate.metrics import luma, psnr, ssim, without_border
from cpl_edge.evaluate.rows import measure
from cpl_edge.evaluate.samples import Sample
from cpl_edge.evaluate.suites import Suite, load_suite
from cpl_edge.restore.outcome import Restored, Seconds

PHOTO = np.ascontiguousarray(astronaut()[:72, 200:296])
NOISE = {"kind": "gaussian", "label": "noise 25", "sigma": 25.0}


@pytest.fixture(scope="module")
def pair():
    x = (PHOTO / np.float32(255)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.08, x.shape)
    return x, np.clip(x + noise, 0, 1).astype(np.float32)


def test_luma_is_that_of_scikit_image_and_matlab(pair):
    x, _ = pair
    assert luma(x).shape == (72, 96, 1)
    assert luma(x)[..., 0] * 255 == pytest.approx(rgb2ycbcr(x)[..., 0], abs=1e-3)
    ends = luma(np.array([[[0, 0, 0], [1, 1, 1]]], np.float32)).ravel() * 255
    assert ends == pytest.approx([16, 235], abs=1e-3)


def test_psnr_on_y_equals_scikit_image(pair):
    x, y = pair
    expected = peak_signal_noise_ratio(rgb2ycbcr(x)[..., 0], rgb2ycbcr(y)[..., 0], data_range=255)
    assert psnr(luma(x), luma(y)) == pytest.approx(expected, abs=1e-4)
    assert psnr(luma(x), luma(y)) > psnr(x, y) + 1  # noise averages out, and the range shrinks


def valid_gaussian_ssim(x_HW, y_HW):
    """Wang et al. 2004 spelled out: 11x11 Gaussian of sigma 1.5, only where the window fits."""
    line = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    kernel = np.outer(line, line) / line.sum() ** 2

    def mean(z):
        windows = np.lib.stride_tricks.sliding_window_view(z, (11, 11))
        return (windows * kernel).sum((2, 3))

    x, y = x_HW.astype(np.float64), y_HW.astype(np.float64)
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return values.mean()


def test_gaussian_ssim_is_that_of_the_original_paper(pair):
    x, y = pair
    channels = [valid_gaussian_ssim(x[..., i], y[..., i]) for i in range(3)]
    assert ssim(x, y, "gaussian") == pytest.approx(np.mean(channels), abs=1e-5)
    assert ssim(x, y, "gaussian") != pytest.approx(ssim(x, y), abs=1e-3)
    on_y = valid_gaussian_ssim(luma(x)[..., 0], luma(y)[..., 0])
    assert ssim(luma(x), luma(y), "gaussian") == pytest.approx(on_y, abs=1e-5)


def test_border_is_cut_on_every_side(pair):
    x, _ = pair
    assert without_border(x, 0).shape == x.shape
    cut = without_border(x, 4)
    assert cut.shape == (64, 88, 3) and np.array_equal(cut, x[4:-4, 4:-4])


class Stub:
    """Restores by a function of the degraded image."""

    def __init__(self, function):
        self.function = function

    def restore_float(self, image_HWC, degradation="auto"):
        return Restored(self.function(image_HWC), None, "noise", {}, 1, Seconds())


def row(restored, **values):
    plain = {"name": "t", "about": "t", "images": "x", "degradations": (NOISE,), **values}
    suite = Suite.model_validate(plain)
    sample = Sample("a", suite.degradations[0], PHOTO, smallest=suite.smallest)
    return measure(sample, suite, Stub(restored))


def test_a_suite_measures_by_its_convention():
    clean = PHOTO[4:68, :] / np.float32(255)

    def spoilt_border(x_HWC):
        y_HWC = clean + np.float32(0.3 / 255)
        y_HWC[:2], y_HWC[-2:], y_HWC[:, :2], y_HWC[:, -2:] = 0, 0, 0, 0
        return y_HWC

    plain = row(spoilt_border)
    bordered = row(spoilt_border, border=2)
    assert plain.psnr_after < 20 < bordered.psnr_after
    assert bordered.psnr_after == pytest.approx(20 * np.log10(255 / 0.3), abs=0.05)
    # A third of a grey level vanishes in a file of 8 bits.
    assert row(spoilt_border, border=2, rounded=True).psnr_after == np.inf
    assert bordered.pixels == plain.pixels == 64 * 96  # what was restored, not what was measured


def test_a_suite_on_y_sees_no_chroma():
    def hue(x_HWC):  # a change of equal luma: red up, green down by BT.601's shares
        y_HWC = PHOTO[4:68, :] / np.float32(255)
        return y_HWC + np.array([0.02, -0.02 * 65.481 / 128.553, 0], np.float32)

    on_rgb, on_y = row(hue), row(hue, channels="y")
    assert on_rgb.psnr_after < 40 < 55 < on_y.psnr_after
    assert on_y.psnr_before > on_rgb.psnr_before


@pytest.mark.parametrize(
    ("name", "channels", "border", "rounded", "window", "crop"),
    [
        ("cbsd68", "rgb", 0, False, "uniform", 16),
        ("3tasks", "rgb", 0, False, "uniform", 16),
        ("5tasks", "rgb", 0, False, "uniform", 16),
        ("cdd11", "rgb", 0, False, "uniform", 16),
        ("7tasks", "rgb", 4, True, "gaussian", 4),
        ("allweather", "y", 0, True, "gaussian", 1),
    ],
)
def test_conventions_of_the_papers(name, channels, border, rounded, window, crop):
    suite = load_suite(name)
    assert (suite.channels, suite.border, suite.rounded) == (channels, border, rounded)
    assert (suite.ssim_window, suite.crop_multiple) == (window, crop)
    assert suite.smallest == {"uniform": 7, "gaussian": 11}[window] + 2 * border
