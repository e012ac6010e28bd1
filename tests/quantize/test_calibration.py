import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.errors import UserError
from cpl_edge.quantize.calibration import calibration_half, judging_half, make_calibration
from cpl_edge.quantize.recipe import CalibrationSet

KNOWN = ("noise", "blur", "rain", "haze", "lowlight")
SIZE = (64, 72)


def test_every_degradation_is_shown_at_the_size_of_the_export(calibration):
    assert {x.shape for x in calibration.crops} == {(1, 3, *SIZE)}
    assert sorted(set(calibration.degradations)) == sorted(KNOWN)
    assert all(calibration.degradations.count(name) == 2 for name in KNOWN)
    for x in calibration.crops:
        assert 0 <= x.min() <= x.max() <= 1
        torch.testing.assert_close(x * 255, (x * 255).round(), atol=1e-4, rtol=0)
    pairs = zip(calibration.crops, calibration.clean, strict=True)
    assert all(not torch.equal(x, clean) for x, clean in pairs)


def test_the_digest_says_whether_two_calibrations_are_the_same(calibration):
    again = make_calibration(CalibrationSet(crops=2), KNOWN, SIZE)
    other = make_calibration(CalibrationSet(crops=2, seed=7), KNOWN, SIZE)
    assert again.digest == calibration.digest != other.digest
    assert calibration.to_card()["digest"] == calibration.digest


def test_no_photo_calibrates_and_judges():
    photos = list(range(7))
    assert sorted(calibration_half(photos) + judging_half(photos)) == photos
    calibrating = make_calibration(CalibrationSet(crops=1), KNOWN, SIZE).photos
    judging = make_calibration(CalibrationSet(crops=1), KNOWN, SIZE, judging=True).photos
    assert calibrating
    assert judging
    assert not set(calibrating) & set(judging)


def test_a_degradation_meets_more_than_one_photo(tmp_path):
    for i in range(4):
        pixels = np.full((80, 80, 3), 60 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    made = make_calibration(CalibrationSet(crops=2), KNOWN, SIZE, tmp_path)
    assert made.photos == ["1.png", "3.png"]
    assert made.source == tmp_path.name
    rows = list(zip(made.degradations, made.clean, strict=True))
    for name in KNOWN:
        assert len({float(clean.mean()) for found, clean in rows if found == name}) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no folder"),
        ({}, "no image|no PNG"),
        ({"notes.txt": b"text"}, "no image|no PNG"),
        ({"only.png": b""}, "holds one image: calibration needs two or more"),
        ({"a.png": b"no picture", "b.png": b"no picture"}, r"b\.png"),
    ],
)
def test_a_wrong_folder_gets_one_line(tmp_path, files, message):
    folder = tmp_path / "photos"
    if files is not None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        make_calibration(CalibrationSet(crops=1), KNOWN, SIZE, folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_degradation_is_a_mistake():
    chosen = CalibrationSet(degradations=("noise", "snow"))
    with pytest.raises(UserError, match="calibrates on 'snow', which the student does not know"):
        make_calibration(chosen, KNOWN, SIZE)
