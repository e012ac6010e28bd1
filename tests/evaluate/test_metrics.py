"""PSNR and SSIM against scikit-image, which the published figures come from."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cpl_edge.errors import UserError
from cpl_edge.evaluate.metrics import crop_to_multiple, psnr, ssim


@pytest.fixture(scope="module")
def photo():
    return (astronaut()[:144, 100:260] / np.float32(255)).astype(np.float32)


def noisy(image, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.001, 0.05, 0.3])
def test_psnr_equals_scikit_image(photo, sigma):
    other = noisy(photo, sigma)
    assert psnr(photo, other) == pytest.approx(
        peak_signal_noise_ratio(photo, other, data_range=1), abs=1e-9
    )


def test_psnr_of_a_known_error():
    x = np.zeros((8, 8, 3), np.float32)
    assert psnr(x, x + np.float32(0.1)) == pytest.approx(20, abs=1e-5)


def test_psnr_of_equal_images_is_infinite_and_silent(photo):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert psnr(photo, photo.copy()) == math.inf


def test_psnr_sees_what_rounding_to_8_bit_would_hide(photo):
    # A third of a grey level: after rounding, both images would be equal.
    other = photo + np.float32(1 / 765)
    assert psnr(photo, other) == pytest.approx(20 * math.log10(765), abs=0.01)


@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_ssim_equals_the_published_call(photo, sigma):
    other = noisy(photo, sigma)
    # A 7x7 uniform window with the sample covariance, spelled out so that a change of
    # scikit-image's defaults would show.
    expected = structural_similarity(
        photo,
        other,
        win_size=7,
        gaussian_weights=False,
        use_sample_covariance=True,
        K1=0.01,
        K2=0.03,
        data_range=1,
        channel_axis=2,
    )
    assert ssim(photo, other) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 0.95
    assert ssim(photo, photo) == 1


@given(
    height=st.integers(7, 70),
    width=st.integers(7, 70),
    multiple=st.sampled_from([1, 4, 16]),
)
def test_crop_keeps_the_middle(height, width, multiple):
    image = np.arange(height * width, dtype=np.int32).reshape(height, width, 1)
    if min(height, width) < multiple:
        with pytest.raises(UserError, match="too small"):
            crop_to_multiple(image, multiple)
        return
    if min(height - height % multiple, width - width % multiple) < 7:
        return
    cropped = crop_to_multiple(image, multiple)
    h, w = cropped.shape[:2]
    assert h % multiple == 0 and w % multiple == 0
    assert height - h < multiple and width - w < multiple
    # PromptIR's crop_img: the smaller half of what goes is taken off at the top and left.
    row, column = divmod(int(cropped[0, 0, 0]), width)
    assert (row, column) == ((height - h) // 2, (width - w) // 2)


def test_crop_of_a_benchmark_image():
    assert crop_to_multiple(np.zeros((321, 481, 3), np.uint8), 16).shape == (320, 480, 3)


def test_too_small_for_the_ssim_window():
    with pytest.raises(UserError, match="5x100 pixels"):
        crop_to_multiple(np.zeros((100, 5, 3), np.uint8), 1)
