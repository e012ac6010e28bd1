import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.benchmark.plain_loop import PlainPairs, write_pairs
from cpl_edge.data.photos import bundled_photos

KINDS = ("noise", "haze")


@pytest.fixture(name="image", scope="module")
def a_photo():
    return dict(bundled_photos())["coffee"][:48, :64]


def test_pairs_are_files_of_one_image(image, tmp_path):
    pairs = write_pairs([image], KINDS, tmp_path)
    assert [pair[0] for pair in pairs] == list(KINDS)
    (_, clean, same), (_, other, degraded) = pairs
    assert clean == same == other != degraded
    np.testing.assert_array_equal(np.asarray(Image.open(clean)), image)
    assert np.asarray(Image.open(degraded)).mean() > image.mean()  # haze is bright


def test_the_plain_data_set_crops_both_alike(image, tmp_path):
    clean, negative = tmp_path / "clean.png", tmp_path / "negative.png"
    Image.fromarray(image).save(clean)
    Image.fromarray(255 - image).save(negative)
    pairs = PlainPairs([("haze", clean, negative)], 16)
    assert len(pairs) == 1
    for _ in range(8):  # whatever the crop and the flips, what belongs together sums to white
        x_CHW, y_CHW = pairs[0]
        assert x_CHW.shape == y_CHW.shape == (3, 16, 16)
        assert x_CHW.dtype == torch.float32 and x_CHW.min() >= 0 and x_CHW.max() <= 1
        torch.testing.assert_close(x_CHW + y_CHW, torch.ones(3, 16, 16))


def test_noise_is_new_each_time(image, tmp_path):
    pairs = PlainPairs(write_pairs([image], ("noise",), tmp_path), 48)
    differences = [x_CHW - y_CHW for x_CHW, y_CHW in (pairs[0], pairs[0])]
    assert all(0.03 < float(d.std()) < 0.25 for d in differences)
    assert not torch.equal(*differences)
