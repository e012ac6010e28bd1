import pytest
import torch

from cpl_edge.data.degradations import degrade
from cpl_edge.data.patches import ImageBank
from cpl_edge.data.variation import (
    Variation,
    any_noise,
    darken,
    light_lamps,
    save_some,
    weaken,
)
from cpl_edge.errors import UserError

KINDS = ("noise", "blur", "rain", "haze", "lowlight")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(name="scene_BCHW", scope="module")
def smooth_scenes():
    """50 smooth scenes of middle brightness."""
    coarse = torch.rand(50, 3, 4, 4, generator=rng(9)) * 0.4 + 0.4
    return torch.nn.functional.interpolate(coarse, size=48, mode="bicubic").clamp(0, 1)


def labels():
    return torch.arange(50) // 10  # ten of each degradation


def test_scenes_are_darkened_where_they_may_be(scene_BCHW):
    darker = darken(scene_BCHW, labels() < 3, 1.0, rng())
    change_B = (darker - scene_BCHW).mean((1, 2, 3))
    assert (change_B[:30] < 0).all()
    assert torch.equal(darker[30:], scene_BCHW[30:])
    # gain 0.5-1 and gamma 1-1.4 of 0.4-0.8
    assert darker[:30].mean((1, 2, 3)).min() > 0.5**1.4 * 0.4**1.4


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_as_many_scenes_are_darkened_as_the_share_says(scene_BCHW, share):
    scenes = scene_BCHW.repeat(8, 1, 1, 1)
    darker = darken(scenes, torch.ones(400, dtype=torch.bool), share, rng())
    changed = (darker != scenes).flatten(1).any(1).float().mean()
    assert abs(float(changed) - share) <= (0.07 if share else 0)


def test_a_night_scene_is_darker_but_for_its_lamps(scene_BCHW):
    night = light_lamps(scene_BCHW, 1.0, rng())
    assert torch.allclose(night * 255, (night * 255).round(), atol=1e-3)
    assert night.min() >= 0 and night.max() == 1
    darker_B = (night < scene_BCHW - 1 / 255).flatten(1).float().mean(1)
    assert darker_B.mean() > 0.4
    white_B = (night > 0.99).all(1).flatten(1).any(1).float().mean()
    assert 0.2 < white_B < 1  # many a lamp outshines the camera


def test_a_lamps_light_is_warm():
    red, green, blue = light_lamps(torch.zeros(50, 3, 48, 48), 1.0, rng()).unbind(1)
    assert (red >= green).all() and (green >= blue).all()
    assert red.sum() > 1.1 * blue.sum()


def test_lamps_fall_off_around_their_middle():
    dark = torch.zeros(200, 3, 48, 48)
    red = light_lamps(dark, 1.0, rng())[:, 0]
    assert (red.flatten(1).amax(1) > 0.4).all()  # one at least is lit in every scene
    peaks = red.flatten(1).argmax(1)
    far = red[peaks == peaks.mode().values][0]
    assert far.min() < far.max()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_as_many_nights_as_the_share_says(scene_BCHW, share):
    scenes = scene_BCHW.repeat(8, 1, 1, 1)
    changed = (light_lamps(scenes, share, rng()) != scenes).flatten(1).any(1).float().mean()
    assert abs(float(changed) - share) <= (0.07 if share else 0)


def test_a_bank_lights_lamps_before_it_degrades():
    image = torch.full((64, 64, 3), 90, dtype=torch.uint8).numpy()
    bank = ImageBank([image], variation=Variation(lamps=1.0))
    _, y_BCHW, _ = bank.degraded(("noise", "blur"), 8, 48, rng())
    assert (y_BCHW.flatten(1).amax(1) > 90 / 255 * 0.8).all()
    assert (y_BCHW.flatten(1).amin(1) < 90 / 255).all()


NONE, ALL = torch.zeros(50, dtype=torch.bool), torch.ones(50, dtype=torch.bool)


def test_noise_of_any_strength_is_of_the_clean_image(scene_BCHW):
    noisy = degrade(scene_BCHW, "noise", rng())
    assert torch.equal(any_noise(noisy, scene_BCHW, NONE, 0.0, rng()), noisy)
    varied = any_noise(noisy, scene_BCHW, NONE, 1.0, rng())
    sigma_B = (varied - scene_BCHW).std((1, 2, 3)) * 255
    assert sigma_B.min() < 5
    assert 40 < sigma_B.max() < 62
    assert sigma_B.sort().values.diff().max() < 8  # spread out, not three strengths
    assert torch.allclose(varied * 255, (varied * 255).round(), atol=1e-3)


def test_almost_clean_images_are_among_the_noisy(scene_BCHW):
    noisy = degrade(scene_BCHW, "noise", rng())
    almost = any_noise(noisy, scene_BCHW, ALL, 0.0, rng())
    assert (almost - scene_BCHW).std((1, 2, 3)).max() * 255 < 2.1
    both = any_noise(noisy, scene_BCHW, labels() < 2, 0.3, rng())
    assert ((both - scene_BCHW).std((1, 2, 3))[:20] * 255 < 2.1).all()
    changed_B = (both != noisy).flatten(1).any(1)
    assert 3 < changed_B[20:].sum() < 17  # 9 expected


def test_a_clean_photo_is_not_darkened_but_a_noisy_one_is():
    bright = torch.full((64, 64, 3), 200, dtype=torch.uint8).numpy()
    bank = ImageBank([bright], variation=Variation(exposure=1.0, clean=0.5))
    x_BCHW, y_BCHW, _ = bank.degraded(("noise", "haze"), 80, 32, rng())
    clean_B = (x_BCHW - y_BCHW).std((1, 2, 3))[:40] * 255 < 2.1
    assert 10 < clean_B.sum() < 30
    assert torch.allclose(y_BCHW[:40][clean_B], torch.tensor(200 / 255))
    assert (y_BCHW[:40][~clean_B].mean((1, 2, 3)) < 199 / 255).all()


def test_some_degradations_are_only_partly_there(scene_BCHW):
    noisy = degrade(scene_BCHW, "noise", rng())
    assert torch.equal(weaken(noisy, scene_BCHW, 0.0, rng()), noisy)
    weak = weaken(noisy, scene_BCHW, 1.0, rng())
    share_B = (weak - scene_BCHW).std((1, 2, 3)) / (noisy - scene_BCHW).std((1, 2, 3))
    assert share_B.min() < 0.15
    assert 0.85 < share_B.max() <= 1.01
    assert share_B.sort().values.diff().max() < 0.2  # spread out
    assert torch.allclose(weak * 255, (weak * 255).round(), atol=1e-3)


def test_a_bank_weakens_every_degradation():
    image = torch.randint(60, 200, (64, 64, 3), generator=rng(1)).byte().numpy()
    # The same crops and strengths: what weakens draws after all of them.
    banks = [ImageBank([image], variation=Variation(weak=share)) for share in (0.0, 1.0)]
    (a_BCHW, y_BCHW, _), (b_BCHW, _, label_B) = (
        bank.degraded(KINDS, 50, 32, rng(3)) for bank in banks
    )
    error = [(x_BCHW - y_BCHW).abs().mean((1, 2, 3)) for x_BCHW in (a_BCHW, b_BCHW)]
    for kind in range(5):
        assert error[1][label_B == kind].mean() < 0.75 * error[0][label_B == kind].mean()


def test_some_images_are_saved_as_jpeg(scene_BCHW):
    noisy = degrade(scene_BCHW, "noise", rng())
    assert torch.equal(save_some(noisy, 0.0, rng()), noisy)
    saved = save_some(noisy, 1.0, rng())
    # 4:2:0 averages chroma: the noise of opposite colours shrinks, that of brightness stays.
    chroma = [(x[:, 0] - x[:, 2]).diff(dim=-1).std() for x in (noisy, saved)]
    luma = [x.mean(1).diff(dim=-1).std() for x in (noisy, saved)]
    assert chroma[1] < 0.7 * chroma[0]
    assert luma[1] > 0.8 * luma[0]
    assert torch.allclose(saved * 255, (saved * 255).round(), atol=1e-3)


def test_a_bank_varies_what_it_degrades():
    bank_of = [torch.randint(60, 200, (64, 64, 3), generator=rng(n)).byte().numpy() for n in (1, 2)]
    plain = ImageBank(bank_of)
    bank = ImageBank(bank_of, variation=Variation(jpeg=1.0, exposure=1.0, sigma=1.0))
    x_BCHW, y_BCHW, label_B = bank.degraded(KINDS, 50, 32, rng())
    _, clean, _ = plain.degraded(KINDS, 50, 32, rng())
    assert torch.equal(label_B, labels())
    # The target is the darker scene: noise is to be removed, not darkness.
    assert (y_BCHW[:30].mean((1, 2, 3)) < clean[:30].mean((1, 2, 3))).all()
    assert torch.equal(y_BCHW[30:], clean[30:])
    assert x_BCHW.min() >= 0
    assert x_BCHW.max() <= 1


def test_no_variation_draws_the_same_batches_as_before():
    image = torch.randint(0, 256, (64, 64, 3), generator=rng(1)).byte().numpy()
    one, other = ImageBank([image]), ImageBank([image], mix=dict.fromkeys(KINDS, 2))
    for a, b in zip(one.degraded(KINDS, 7, 32, rng()), other.degraded(KINDS, 7, 32, rng()),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)
    assert one.degraded(KINDS, 7, 32, rng())[2].tolist() == [k * 5 // 7 for k in range(7)]


def test_a_mix_shares_a_batch_out():
    image = torch.randint(0, 256, (64, 64, 3), generator=rng(1)).byte().numpy()
    mix = {"noise": 4, "blur": 6, "rain": 4, "haze": 3, "lowlight": 3}
    bank = ImageBank([image], mix=mix)
    assert bank.degraded(KINDS, 20, 32, rng())[2].bincount().tolist() == list(mix.values())
    with pytest.raises(UserError, match="'mix' must give a share for each of noise, jpeg"):
        bank.degraded(("noise", "jpeg"), 20, 32, rng())
