import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cpl_edge.data import degradations
from cpl_edge.data.degradations import (
    KINDS,
    NOISE_SIGMAS,
    add_noise,
    convolve,
    degrade,
    disc_kernels,
    line_kernels,
    smooth_field,
    transmission,
    uniform,
)
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def grid(x_BCHW):
    """Round to what an 8-bit file can hold."""
    return (x_BCHW * 255).round() / 255


@pytest.fixture(name="photos", scope="module")
def parts_of_photos():
    parts = [torch.from_numpy(image[100:228, 100:228].copy()) for _, image in bundled_photos()]
    return torch.stack(parts).permute(0, 3, 1, 2).float() / 255


def spread(kernel_HW, dim):
    """Variance of a kernel along one axis, in pixels^2."""
    axis = torch.arange(kernel_HW.shape[dim]) - kernel_HW.shape[dim] // 2
    return float((kernel_HW.sum(1 - dim) * axis**2).sum())


# What holds for every kind


@pytest.mark.parametrize("kind", [*KINDS, "haze+rain"])
def test_output_is_what_an_8_bit_file_can_hold(kind, photos):
    before = photos.clone()
    out = degrade(photos, kind, rng())
    assert out.shape == photos.shape
    assert out.dtype == torch.float32
    assert torch.equal(out, grid(out))
    assert 0 <= out.min() < out.max() <= 1
    assert (out - photos).abs().mean() > 0.005
    assert torch.equal(photos, before), "the clean images must not be written to"


@pytest.mark.parametrize("kind", KINDS)
def test_the_generators_state_decides(kind, photos):
    generator = rng(3)
    state = generator.get_state()
    first = degrade(photos, kind, generator)
    second = degrade(photos, kind, generator)
    generator.set_state(state)
    assert torch.equal(degrade(photos, kind, generator), first)
    assert not torch.equal(first, second)
    assert not torch.equal(degrade(photos, kind, rng(4)), first)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_the_generator_is_drawn_from(kind, photos):
    torch.manual_seed(0)
    first = degrade(photos[:1], kind, rng())
    before = torch.random.get_rng_state()
    assert torch.equal(degrade(photos[:1], kind, rng()), first)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_of_a_batch_gets_its_own_strength(kind, photos):
    same = photos[:1].repeat(24, 1, 1, 1)
    errors = (degrade(same, kind, rng()) - same).square().mean((1, 2, 3)).sqrt()
    assert errors.max() > 1.4 * errors.min()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (19, 1), (8, 8), (5, 7), (33, 67)])
def test_tiny_and_odd_sizes(kind, size):
    x_BCHW = grid(torch.rand(2, 3, *size, generator=rng()))
    out = degrade(x_BCHW, kind, rng())
    assert out.shape == x_BCHW.shape
    assert out.isfinite().all()
    assert torch.equal(out, grid(out.clamp(0, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_layout_changes_nothing(kind, photos):
    plain = degrade(photos[..., :40, :56].contiguous(), kind, rng())
    other = degrade(
        photos[..., :40, :56].contiguous(memory_format=torch.channels_last), kind, rng()
    )
    assert (plain - other).abs().max() < 1.5 / 255  # rounding of sums in another order at most
    assert (plain != other).float().mean() < 0.001


def test_compositions_apply_from_left_to_right(photos):
    generator = rng()
    one_by_one = photos
    for kind in ("haze", "rain", "noise"):
        one_by_one = degrade(one_by_one, kind, generator)
    assert torch.equal(degrade(photos, "haze+rain+noise", rng()), one_by_one)
    assert not torch.equal(degrade(photos, "noise+rain+haze", rng()), one_by_one)


@pytest.mark.parametrize("kind", ["fog", "", "haze+", "haze rain", "Noise"])
def test_an_unknown_kind_is_answered_with_the_known_ones(kind, photos):
    with pytest.raises(UserError, match=r"no degradation .*; there are noise, blur, rain, haze"):
        degrade(photos, kind, rng())


def test_uniform_draws_fill_their_range():
    draws = uniform(20_000, -2.0, 6.0, rng())
    assert -2 <= draws.min() < -1.99
    assert 5.99 < draws.max() < 6
    assert draws.mean() == pytest.approx(2, abs=0.1)


# Noise


def test_noise_has_its_sigma_and_no_mean():
    sigma_B = torch.tensor([5.0, *NOISE_SIGMAS])
    grey = torch.full((4, 3, 400, 400), 0.5)
    noise = (add_noise(grey, sigma_B, rng()) - grey) * 255
    count = noise[0].numel()
    for sigma, part in zip(sigma_B.tolist(), noise, strict=True):
        assert float(part.std()) == pytest.approx(sigma, rel=0.02)
        assert abs(float(part.mean())) < 4 * sigma / count**0.5
        assert float((part / sigma).pow(4).mean()) == pytest.approx(3, abs=0.05)  # Gaussian
        for other in (part.roll(1, 0), part.roll(1, 1), part.roll(1, 2)):  # and white
            assert abs(float((part * other).mean())) < 0.01 * sigma**2


def test_noise_of_one_sigma_for_all():
    noise = add_noise(torch.zeros(2, 3, 200, 200), 25.0, rng())
    assert float(noise.std()) == pytest.approx(25 / 255, rel=0.02)


def test_noise_draws_each_level_as_often():
    grey = torch.full((600, 3, 24, 24), 0.5)
    measured_B = (degrade(grey, "noise", rng()) - 0.5).std((1, 2, 3)) * 255
    levels = torch.tensor(NOISE_SIGMAS)
    nearest_B = (measured_B[:, None] - levels).abs().argmin(1)
    counts = torch.bincount(nearest_B, minlength=3)
    assert (counts > 150).all()
    for index, sigma in enumerate(NOISE_SIGMAS[:2]):  # the third is clipped on 8 bits
        assert measured_B[nearest_B == index].mean() == pytest.approx(sigma, rel=0.02)


# Kernels and blur


def kernels():
    lengths, angles = torch.tensor([1.0, 5.0, 9.5, 15.0]), torch.tensor([0.0, 0.4, 1.5, 3.0])
    radii = torch.tensor([0.0, 1.0, 2.2, 3.5])
    return torch.cat([line_kernels(lengths, angles, 1.0, 17), disc_kernels(radii, 17)])


def test_kernels_are_centred_weights():
    kernel_BHW = kernels()
    torch.testing.assert_close(kernel_BHW.sum((1, 2)), torch.ones(8))
    assert (kernel_BHW >= 0).all()
    torch.testing.assert_close(kernel_BHW, kernel_BHW.flip(1, 2), atol=1e-6, rtol=0)


def test_discs_widen_with_their_radius():
    radii = torch.linspace(0, 6, 25)
    variances = [spread(kernel, 0) for kernel in disc_kernels(radii, 17)]
    assert variances[0] == 0  # radius 0 is the identity
    assert all(a < b for a, b in itertools.pairwise(variances[2:]))
    # A disc's variance along one axis is r^2 / 4, here with half a pixel of soft edge.
    assert variances[-1] == pytest.approx(6.25**2 / 4, rel=0.1)


def test_lines_lengthen():
    lengths = torch.linspace(1, 15, 15)
    for angle in (0.0, 0.7):
        lines = line_kernels(lengths, torch.full((15,), angle), 1.0, 17)
        variances = [spread(kernel, 0) + spread(kernel, 1) for kernel in lines]
        assert all(a < b for a, b in itertools.pairwise(variances))
    assert variances[-1] == pytest.approx(15**2 / 12, rel=0.15)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, math.pi / 2, 2.5])
def test_lines_lie_at_their_angle_from_vertical(angle):
    kernel = line_kernels(torch.tensor([31.0]), torch.tensor([angle]), 1.0, 41)[0]
    axis = (torch.arange(41) - 20).float()
    yy, xx = spread(kernel, 0), spread(kernel, 1)
    xy = float((kernel * axis[:, None] * axis[None]).sum())
    found = 0.5 * math.atan2(2 * xy, yy - xx)  # direction of the largest variance
    assert math.sin(found - angle) == pytest.approx(0, abs=0.02)


def test_a_vertical_line_blurs_only_vertically():
    kernel = line_kernels(torch.tensor([9.0]), torch.tensor([0.0]), 1.0, 17)
    columns = torch.rand(1, 3, 1, 40, generator=rng()).repeat(1, 1, 30, 1)
    rows = columns.mT.contiguous()
    torch.testing.assert_close(convolve(columns, kernel), columns, atol=1e-5, rtol=0)
    assert convolve(rows, kernel)[..., 10:30, :].std() < 0.5 * rows[..., 10:30, :].std()


def test_wider_lines_are_wider():
    thin, thick = line_kernels(
        torch.tensor([9.0, 9.0]), torch.zeros(2), torch.tensor([1.0, 3.0]), 17
    )
    assert spread(thin, 1) == 0
    assert spread(thick, 1) > 0.5
    assert spread(thick, 0) == pytest.approx(spread(thin, 0), rel=0.01)


@pytest.mark.parametrize("size", [(20, 31), (9, 40), (9, 9)])
def test_convolution_equals_the_naive_one_mirrored_at_the_borders(size):
    x_BCHW = torch.rand(2, 3, *size, generator=rng())
    kernel_BHW = torch.rand(2, 17, 17, generator=rng(1)) / 200  # of no symmetry
    padded = F.pad(x_BCHW, (8, 8, 8, 8), mode="reflect")
    weight = kernel_BHW.flip(1, 2)[:, None]  # conv2d correlates
    expected = torch.stack(
        [F.conv2d(padded[b].unsqueeze(1), weight[b : b + 1])[:, 0] for b in range(2)]
    )
    torch.testing.assert_close(convolve(x_BCHW, kernel_BHW), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (8, 8), (40, 30)])
def test_convolution_leaves_flat_images_flat(size):
    flat = torch.full((8, 3, *size), 0.3)
    torch.testing.assert_close(convolve(flat, kernels()), flat, atol=1e-5, rtol=0)


def test_blur_takes_detail_and_keeps_brightness(photos):
    out = degrade(photos, "blur", rng())
    detail = [x.diff(dim=-1).abs().mean((1, 2, 3)) for x in (photos, out)]
    assert (detail[1] < 0.9 * detail[0]).all()
    torch.testing.assert_close(out.mean((2, 3)), photos.mean((2, 3)), atol=0.02, rtol=0)


def test_blur_is_defocus_or_motion():
    dots = torch.zeros(200, 3, 17, 17)
    dots[..., 8, 8] = 1.0
    spots = degrade(dots, "blur", rng())[:, 0]
    spots = spots / spots.sum((1, 2), keepdim=True)
    axis = (torch.arange(17) - 8).float()
    yy, xx = (spots.sum(2) * axis**2).sum(1), (spots.sum(1) * axis**2).sum(1)
    xy = (spots * axis[:, None] * axis[None]).sum((1, 2))
    elongation = ((yy - xx).square() + 4 * xy.square()).sqrt() / (yy + xx)
    moving = elongation > 0.5  # 0 for a disc, 1 for a line
    assert 70 < moving.sum() < 130
    assert (elongation[~moving] < 0.1).all()
    angles = 0.5 * torch.atan2(2 * xy, yy - xx)[moving]
    assert (angles[:, None] - torch.linspace(-1.5, 1.5, 7)).abs().amin(0).max() < 0.3  # everywhere


# Rain


def test_rain_only_brightens(photos):
    assert (degrade(photos, "rain", rng()) >= photos).all()


def test_rain_falls_on_a_plausible_share_of_the_image():
    streaks = degrade(torch.zeros(60, 3, 128, 128), "rain", rng())
    assert (streaks == streaks[:, :1]).all()  # grey
    covered_B = (streaks > 8 / 255).float().mean((1, 2, 3))
    assert 0.02 < covered_B.min() < covered_B.max() < 0.6
    assert 0.1 < covered_B.mean() < 0.4
    assert 0.01 < streaks.mean((1, 2, 3)).max() < 0.25
    assert (streaks.amax((1, 2, 3)) > 0.1).all()


def test_rain_falls_within_30_degrees_of_vertical():
    streaks = degrade(torch.zeros(60, 3, 128, 128), "rain", rng())[:, :1]
    taps = torch.exp(-torch.arange(-8, 9).square() / 8.0)
    smooth = F.conv2d(F.conv2d(streaks, taps[None, None, None]), taps[None, None, :, None])[:, 0]
    y = smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]
    x = smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]
    xx, yy, xy = (p.sum((1, 2)) for p in (x * x, y * y, x * y))
    across_B = 0.5 * torch.atan2(2 * xy, xx - yy).rad2deg()  # from horizontal: structure tensor
    coherence_B = ((xx - yy).square() + 4 * xy.square()).sqrt() / (xx + yy)
    assert (coherence_B > 0.35).all()
    assert across_B.abs().max() < 33  # 3 for the estimate
    assert across_B.min() < -15
    assert across_B.max() > 15


# Haze


def test_transmission_falls_with_depth_and_density():
    depth = torch.linspace(0, 1.3, 50).view(1, 1, 50).repeat(3, 1, 1)
    t_BHW = transmission(depth, torch.tensor([0.6, 1.2, 2.0]))
    assert (t_BHW.diff(dim=2) < 0).all()
    assert (t_BHW.diff(dim=0)[..., 1:] < 0).all()
    assert (t_BHW[..., 0] == 1).all()
    assert (t_BHW > 0).all()
    assert float(t_BHW[1, 0, 49]) == pytest.approx(math.exp(-1.2 * 1.3), rel=1e-5)


def haze_parts(count, size, extent=1.0, seed=0):
    """Transmission and air light, recovered from a black and a white image in the same haze."""
    black = degradations.haze(torch.zeros(count, 3, size, size), rng(seed), extent)
    white = degradations.haze(torch.ones(count, 3, size, size), rng(seed), extent)
    t_BCHW = white - black
    return t_BCHW, black / (1 - t_BCHW)


def test_haze_is_the_scattering_model():
    t_BCHW, light_BCHW = haze_parts(60, 48)
    assert (t_BCHW == t_BCHW[:, :1]).all()
    assert math.exp(-2.0 * 1.3) - 1e-4 < t_BCHW.min() < 0.25
    assert 0.75 < t_BCHW.max() < math.exp(-0.6 * 0.3) + 1e-4
    light_B = light_BCHW.mean((1, 2, 3))
    torch.testing.assert_close(light_BCHW, light_B[:, None, None, None].expand_as(light_BCHW))
    assert 0.75 <= light_B.min() < 0.8
    assert 0.95 < light_B.max() <= 1
    top, bottom = t_BCHW[..., :8, :].mean(), t_BCHW[..., -8:, :].mean()
    assert top < bottom - 0.05  # deeper, so hazier, at the top


def test_haze_lies_between_the_image_and_the_light(photos):
    hazy = degradations.haze(photos, rng(), 1.0)
    _, light = haze_parts(len(photos), photos.shape[-1])
    assert (hazy >= torch.minimum(photos, light) - 1e-5).all()
    assert (hazy <= torch.maximum(photos, light) + 1e-5).all()


def test_fields_are_smooth_and_within_their_range():
    field = smooth_field(100, 128, 96, 1.0, rng())
    assert field.shape == (100, 128, 96)
    assert field.min() >= 0
    assert field.max() <= 1
    assert field.diff(dim=1).abs().max() < 0.04
    assert field.diff(dim=2).abs().max() < 0.05
    assert field.std((1, 2)).min() > 0.03  # yet not flat


def test_a_crop_sees_less_of_the_field_than_the_photo():
    extents = (1.0, 0.4, 0.2, 0.05)
    stds = [smooth_field(200, 48, 48, extent, rng()).std((1, 2)).mean() for extent in extents]
    assert all(a > 1.2 * b for a, b in itertools.pairwise(stds))
    crops, places = smooth_field(2000, 8, 8, 0.01, rng()), smooth_field(2000, 8, 8, 1.0, rng())
    assert crops.mean((1, 2)).std() > 3 * stds[-1]  # but crops differ as a photo's places do
    assert crops.mean() == pytest.approx(places.mean().item(), abs=0.02)
    photo, crop = (haze_parts(100, 48, extent)[0].std((1, 2, 3)).mean() for extent in (1.0, 0.1))
    assert crop < 0.4 * photo


# Low light


def test_low_light_is_gain_then_gamma(monkeypatch):
    monkeypatch.setattr(degradations, "add_noise", lambda x_BCHW, sigma_B, generator: x_BCHW)
    ramp = torch.linspace(0.02, 1, 60).view(1, 1, 1, 60).repeat(200, 3, 2, 1)
    dark = degradations.lowlight(ramp, rng(), 1.0)
    assert (dark < ramp).all()
    x, y = ramp[0, 0, 0].double().log().numpy(), dark[:, 0, 0].double().log().numpy()
    gammas, offsets = np.polyfit(x, y.T, 1)  # log y = gamma (log x + log gain)
    gains = np.exp(offsets / gammas)
    np.testing.assert_allclose(y, gammas[:, None] * x + offsets[:, None], atol=1e-4)
    assert 1.2 - 1e-4 < gammas.min() < 1.25
    assert 2.15 < gammas.max() < 2.2 + 1e-4
    assert 0.3 - 1e-4 < gains.min() < 0.33
    assert 0.67 < gains.max() < 0.7 + 1e-4


def test_low_light_darkens_photos(photos):
    assert (degrade(photos, "lowlight", rng()).mean((1, 2, 3)) < photos.mean((1, 2, 3))).all()


def test_low_light_has_a_little_noise(photos):
    sigma_B = degradations.lowlight(torch.full((200, 3, 32, 32), 0.8), rng(), 1.0).std((1, 2, 3))
    assert sigma_B.max() == pytest.approx(0.02, rel=0.1)
    assert sigma_B.mean() == pytest.approx(0.01, rel=0.15)


# JPEG, whose compression itself is tested in test_jpeg.py


def test_compression_is_of_low_quality(photos):
    light = degrade(photos, "jpeg", rng())
    worst = degradations.jpeg(photos, torch.full((len(photos),), 10.0))
    best = degradations.jpeg(photos, torch.full((len(photos),), 40.0))
    error = [(x - photos).square().mean((1, 2, 3)) for x in (best, light, worst)]
    assert (error[0] * 0.98 < error[1]).all()
    assert (error[1] < error[2] * 1.02).all()
