import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.errors import UserError
from cpl_edge.export.crops import crops_digest, make_crops
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.recipe import CalibrationSet

ALL = ("noise", "blur", "rain", "haze", "lowlight")


def test_crops_are_many_degraded_and_always_the_same():
    crops = make_crops(ALL, (64, 72))
    assert len(crops) == 20
    assert sorted(crop.degradation for crop in crops) == sorted(ALL * 4)
    assert len({crop.photo for crop in crops}) == 5
    for crop in crops:
        assert crop.x_BCHW.shape == crop.clean_BCHW.shape == (1, 3, 64, 72)
        assert not torch.equal(crop.x_BCHW, crop.clean_BCHW)
        steps = crop.x_BCHW * 255
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    again = make_crops(ALL, (64, 72))
    assert crops_digest(again) == crops_digest(crops)
    assert crops_digest(again[1:]) != crops_digest(crops)


def test_a_degradation_meets_several_photos():
    crops = make_crops(ALL, (64, 72))
    for degradation in ALL:
        assert len({c.photo for c in crops if c.degradation == degradation}) == 4


def test_held_out_crops_leave_the_calibrating_photos_out():
    judging = {crop.photo for crop in make_crops(ALL, (64, 72), held_out=True)}
    calibrating = set(make_calibration(CalibrationSet(crops=1), ALL, (64, 72)).photos)
    assert len(judging) == 3
    assert not judging & calibrating


def test_few_degradations_still_make_sixteen_crops():
    crops = make_crops(("noise", "rain"), (64, 64))
    assert [crop.degradation for crop in crops].count("rain") == 8


def test_a_small_photo_is_mirrored_until_it_fills_a_crop(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "small.png")
    crop = make_crops(("noise", "rain"), (64, 72), tmp_path)[0]
    assert crop.photo == "small.png"
    rows = (crop.clean_BCHW[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    mirrored = np.concatenate([image, image[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], 1)[:40, :60]
    assert np.array_equal(rows[:40, :60], mirrored)


def test_a_folder_of_photos_is_used_evenly(tmp_path):
    for index in range(40):
        image = np.full((8, 8, 3), index * 6, np.uint8)
        Image.fromarray(image).save(tmp_path / f"{index:02}.png")
    photos = {crop.photo for crop in make_crops(("noise", "rain"), (8, 8), tmp_path)}
    assert len(photos) == 16
    assert max(photos) > "28.png"


def test_a_folder_without_photos_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        make_crops(ALL, (64, 64), tmp_path)
    with pytest.raises(UserError, match="no folder"):
        make_crops(ALL, (64, 64), tmp_path / "missing")
