import pytest
import torch
from skimage import data

from cpl_edge.data import mio
from cpl_edge.data.layouts import find_layout
from cpl_edge.data.mio import MIO, gaussian_kernels, odd_sizes
from cpl_edge.data.pairs import synthesise


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(name="photo", scope="module")
def photo_twice():
    image_HWC = data.astronaut()[100:228, 150:278]
    return torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255


def test_the_seven_tasks_are_those_of_the_layout():
    layout = find_layout("7tasks")
    assert tuple(MIO) == tuple(s.synthesis for s in layout.split("train"))
    assert tuple(f"mio-{task}" for task in layout.tasks) == tuple(MIO)


@pytest.mark.parametrize("kind", MIO)
@pytest.mark.parametrize("size", [(64, 64), (37, 50), (9, 8)])
def test_results_are_8_bit_images_of_the_same_size_and_repeatable(kind, size):
    x_BCHW = torch.rand(3, 3, *size, generator=rng())
    y_BCHW = synthesise(x_BCHW, kind, rng(1), 0.5)
    assert y_BCHW.shape == x_BCHW.shape
    assert torch.equal((y_BCHW * 255).round() / 255, y_BCHW)
    assert y_BCHW.min() >= 0
    assert y_BCHW.max() <= 1
    assert torch.equal(synthesise(x_BCHW, kind, rng(1), 0.5), y_BCHW)


@pytest.mark.parametrize("kind", [kind for kind in MIO if kind != "mio-sr"])
def test_each_image_has_its_own_strength(photo, kind):
    a, b = synthesise(photo, kind, rng(3))
    assert not torch.equal(a, b)
    assert not torch.equal(synthesise(photo, kind, rng(4))[0], a)


def test_gaussians_have_the_sigma_and_the_cut_that_were_asked_for():
    sigma_B, cut_B = torch.tensor([1.0, 3.0, 3.0]), torch.tensor([21.0, 21.0, 7.0])
    kernels = gaussian_kernels(sigma_B, cut_B, 21)
    assert torch.allclose(kernels.sum((1, 2)), torch.ones(3))
    axis = torch.arange(21) - 10.0
    spread = (kernels.sum(1) * axis**2).sum(1).sqrt()
    assert spread[:2].tolist() == pytest.approx([1.0, 3.0], rel=0.01)
    assert int((kernels[2, 10] > 0).sum()) == 7
    assert torch.equal(kernels, kernels.mT)


def test_odd_sizes_are_all_drawn():
    assert set(odd_sizes(500, 3, 11, rng()).tolist()) == {3, 5, 7, 9, 11}
    assert set(odd_sizes(500, 7, 21, rng()).tolist()) == set(range(7, 22, 2))


def test_super_resolution_keeps_what_is_smooth_and_loses_what_is_fine():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    assert (mio.super_resolution(ramp, rng(), 1.0) - ramp)[..., 8:-8].abs().max() < 0.01
    fine = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    flat = mio.super_resolution(fine, rng(), 1.0)[..., 8:-8]
    assert flat.std() < 0.05
    assert flat.mean() == pytest.approx(0.5, abs=0.02)


def test_noise_levels_span_the_published_range():
    grey = torch.full((300, 3, 32, 32), 0.5)
    sigma_B = 255 * (mio.noise(grey, rng(), 1.0) - grey).std((1, 2, 3))
    assert 14 < sigma_B.min() < 17
    assert 47 < sigma_B.max() < 52
    assert sigma_B.mean() == pytest.approx(32.5, abs=2)


def test_rain_only_brightens_up_to_one_full_streak():
    black = torch.zeros(20, 3, 96, 96)
    rain = mio.rain(black, rng(), 1.0)
    assert rain.min() >= -1e-5
    assert torch.allclose(rain.amax((1, 2, 3)), torch.ones(20))
    assert torch.equal(rain[:, 0], rain[:, 2])  # grey
    share_B = (rain[:, 0] > 0.2).float().mean((1, 2))
    assert 0.005 < share_B.mean() < 0.5


def test_rain_without_a_drop_changes_nothing(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape))
    black = torch.zeros(1, 3, 16, 16)
    assert torch.allclose(mio.rain(black, rng(), 1.0), black, atol=1e-4)


def test_streaks_stay_within_45_degrees_of_vertical():
    rain = mio.rain(torch.zeros(40, 3, 96, 96), rng(), 1.0)[:, 0]
    along_y = (rain[:, 1:] - rain[:, :-1]).abs().mean((1, 2))
    along_x = (rain[:, :, 1:] - rain[:, :, :-1]).abs().mean((1, 2))
    assert (along_y < 1.2 * along_x).all()  # streaks change less along themselves


def test_haze_moves_every_pixel_towards_the_light(photo):
    hazy = mio.haze(photo, rng(), 1.0)
    assert ((hazy >= photo - 1e-6) | (photo > 0.8)).all()
    dark = photo.amax(1) < 0.2
    assert hazy.amax(1)[dark].max() < 1
    assert hazy.std() < photo.std()


def test_low_light_darkens_all_but_black_and_white(photo):
    dark = mio.lowlight(photo, rng(), 1.0)
    assert (dark <= photo + 1e-6).all()
    assert dark.mean() < 0.95 * photo.mean()
    ends = torch.tensor([0.0, 1.0]).expand(2, 3, 8, 2)
    assert torch.equal(mio.lowlight(ends, rng(), 1.0), ends)
