import math

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.streaks import streak_kernels, varied_rain
from cpl_edge.data.variation import Variation


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def kernel(length=20.0, width=2.0, angle=0.0, taper=0.1):
    values = (torch.tensor([float(v)]) for v in (length, width, angle, taper))
    return streak_kernels(*values)[0]


def test_a_streak_is_as_long_and_as_wide_as_told():
    middle = kernel().shape[0] // 2
    column, row = kernel()[:, middle], kernel()[middle]
    assert int((column > 0).sum()) in (19, 20, 21)
    assert row[middle] == 1
    torch.testing.assert_close(row[middle + 1], torch.tensor(0.5))  # half, half a width away
    assert float(row[middle + 4]) < 1e-3


def test_a_taper_fades_the_ends_and_keeps_the_middle():
    middle = kernel().shape[0] // 2
    abrupt, soft = kernel(taper=0.1)[:, middle], kernel(taper=2.0)[:, middle]
    assert abrupt[middle] == soft[middle] == 1
    assert soft[middle + 8] < 0.2 < abrupt[middle + 8]


def test_a_streak_falls_along_its_angle():
    size = kernel().shape[0]
    leaning = kernel(length=30, angle=math.radians(30))
    rows, columns = torch.nonzero(leaning > 0.5).unbind(1)
    down, right = rows - size // 2, columns - size // 2
    slope = float((down * right).sum() / (down * down).sum())
    assert slope == pytest.approx(math.tan(math.radians(30)), abs=0.05)


def test_rain_brightens_and_is_a_file():
    y_BCHW = torch.full((40, 3, 64, 64), 0.4)
    y_BCHW = (y_BCHW * 255).round() / 255
    rainy = varied_rain(torch.zeros_like(y_BCHW), 1.0, y_BCHW, rng())
    change = rainy - y_BCHW
    assert float(change.min()) > -1e-6
    assert float(rainy.max()) <= 1
    assert torch.equal((rainy * 255).round() / 255, rainy)
    assert torch.allclose(change[:, 0], change[:, 2], atol=1e-6)  # white
    wet_B = (change > 0.02).float().mean((1, 2, 3))
    assert 0.02 < float(wet_B.mean()) < 0.5
    assert float(wet_B.std()) > 0.03  # drizzle and downpour


def test_streaks_of_one_photo_differ_in_brightness():
    y_BCHW = torch.zeros(20, 3, 96, 96)
    rainy = varied_rain(y_BCHW, 1.0, y_BCHW, rng(1))[:, 0]
    tops = torch.nn.functional.max_pool2d(rainy[:, None], 16).flatten(1)
    spread_B = tops.quantile(0.9, 1) - tops.quantile(0.3, 1)
    assert float(spread_B.median()) > 0.05


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_as_much_rain_is_varied_as_the_share_says(share):
    y_BCHW = torch.full((300, 3, 48, 48), 0.2)
    rainy = varied_rain(torch.ones_like(y_BCHW), share, y_BCHW, rng())
    changed = (rainy < 1).flatten(1).any(1).float().mean()
    assert abs(float(changed) - share) <= (0.08 if share else 0)


def bank(**variation):
    images = [torch.randint(0, 255, (60, 70, 3), generator=rng(s)).byte() for s in range(4)]
    return ImageBank(images, variation=Variation(**variation))


def test_only_rain_has_other_streaks():
    kinds = ("noise", "rain", "haze")
    plain = bank().degraded(kinds, 9, 48, rng(3))
    other = bank(streaks=1.0).degraded(kinds, 9, 48, rng(3))
    same_B = (plain[0] == other[0]).flatten(1).all(1)
    assert same_B.tolist() == (plain[2] != 1).tolist()
    assert torch.equal(plain[1], other[1])
    assert torch.equal((other[0] >= other[1] - 1e-6)[plain[2] == 1].all(), torch.tensor(True))


def test_a_mix_without_rain_has_no_use_for_streaks():
    kinds = ("noise", "haze")
    plain = bank().degraded(kinds, 4, 48, rng(3))
    other = bank(streaks=1.0).degraded(kinds, 4, 48, rng(3))
    assert torch.equal(plain[0], other[0])
