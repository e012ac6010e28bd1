import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data.jpeg import jpeg
from cpl_edge.data.photos import bundled_photos


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def as_tensor(image_HWC):
    return torch.from_numpy(np.array(image_HWC)).permute(2, 0, 1)[None].float() / 255


def pillow(image_HWC, quality):
    """What a real encoder and decoder make of an image, with 4:2:0 and the same tables."""
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "JPEG", quality=quality, subsampling=2)
    return as_tensor(Image.open(file))


def psnr(x, y):
    return -10 * math.log10(float((x - y).square().mean()))


@pytest.mark.parametrize("quality", [10, 25, 40, 50, 75, 95])
def test_the_result_is_that_of_a_real_encoder(quality):
    for name, image_HWC in bundled_photos():
        part = np.ascontiguousarray(image_HWC[50:250, 100:333])
        ours = jpeg(as_tensor(part), torch.tensor([float(quality)]))
        theirs = pillow(part, quality)
        assert psnr(ours, theirs) > 38, name  # they differ by roundings only
        loss = psnr(theirs, as_tensor(part))
        assert psnr(ours, as_tensor(part)) == pytest.approx(loss, abs=0.25), name


def test_a_higher_quality_loses_less():
    x_BCHW = as_tensor(bundled_photos()[0][1][:128, :128])
    qualities = torch.tensor([1.0, 5, 10, 20, 30, 40, 60, 80, 90, 100])
    out = jpeg(x_BCHW.repeat(10, 1, 1, 1), qualities)
    errors = (out - x_BCHW).square().mean((1, 2, 3))
    assert (errors.diff() < 0).all()


def test_each_image_has_its_own_quality():
    x_BCHW = torch.cat([as_tensor(image[:64, :80]) for _, image in bundled_photos()[:3]])
    quality_B = torch.tensor([10.0, 37.5, 90.0])
    together = jpeg(x_BCHW, quality_B)
    for b in range(3):
        alone = jpeg(x_BCHW[b : b + 1], quality_B[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-5, rtol=0)


def test_the_best_quality_loses_nothing_of_a_grey_image():
    grey = (torch.rand(1, 1, 32, 48, generator=rng()) * 255).round().repeat(1, 3, 1, 1) / 255
    out = jpeg(grey, torch.tensor([100.0]))
    assert (out - grey).abs().max() < 3 / 255
    torch.testing.assert_close(out, out[:, :1].expand_as(out), atol=1e-5, rtol=0)  # still grey


def test_blocks_are_8_pixels_and_independent():
    grey = torch.rand(1, 1, 48, 64, generator=rng()).repeat(1, 3, 1, 1)
    quality = torch.tensor([20.0])
    part = (..., slice(16, 48), slice(16, 48))
    torch.testing.assert_close(jpeg(grey[part], quality), jpeg(grey, quality)[part])
    shifted = (..., slice(12, 44), slice(12, 44))
    assert (jpeg(grey[shifted], quality) - jpeg(grey, quality)[shifted]).abs().max() > 0.1


def test_flat_images_stay_flat():
    colours = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.9, 0.2, 0.1], [0.2, 0.4, 0.8]])
    flat = colours[:, :, None, None].repeat(1, 1, 24, 20)
    out = jpeg(flat, torch.full((4,), 50.0))
    torch.testing.assert_close(out, out[..., :1, :1].expand_as(out), atol=1e-5, rtol=0)
    assert (out - flat).abs().max() < 4 / 255  # half a step of the mean: 16 / 8 / 2 per plane
    assert out[1].max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (8, 8), (15, 16), (33, 50)])
def test_any_size_stays_in_range(size):
    x_BCHW = torch.rand(2, 3, *size, generator=rng())
    out = jpeg(x_BCHW, torch.tensor([1.0, 60.0]))
    assert out.shape == x_BCHW.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert out.isfinite().all()


def test_quality_is_limited_to_1_and_100():
    x_BCHW = torch.rand(2, 3, 16, 16, generator=rng())
    assert torch.equal(
        jpeg(x_BCHW, torch.tensor([-3.0, 400.0])), jpeg(x_BCHW, torch.tensor([1.0, 100.0]))
    )
