import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data import patches
from cpl_edge.data.patches import ImageBank, list_images, load_images
from cpl_edge.errors import ImageError, UserError

KINDS = ("noise", "blur", "haze")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def coded(index, h, w):
    """An image whose every pixel says where it is: (image, row, column)."""
    image_HWC = np.empty((h, w, 3), np.uint8)
    image_HWC[..., 0] = index
    image_HWC[..., 1] = np.arange(h)[:, None]
    image_HWC[..., 2] = np.arange(w)
    return image_HWC


@pytest.fixture(name="images", scope="module")
def images_of_several_sizes():
    return [coded(0, 20, 31), coded(1, 40, 24), coded(2, 16, 16)]


def symmetries(patch_HWC):
    turns = [np.rot90(patch_HWC, n) for n in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def test_crops_are_parts_of_the_images_in_all_eight_symmetries(images):
    bank = ImageBank(images)
    assert len(bank) == 3
    x_BCHW, _ = bank.crops(600, 12, rng())
    assert x_BCHW.shape == (600, 3, 12, 12)
    found = []
    for crop in (x_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy():
        index, top, left = (int(crop[..., c].min()) for c in range(3))
        window = images[index][top : top + 12, left : left + 12]
        equal = [n for n, turned in enumerate(symmetries(window)) if np.array_equal(crop, turned)]
        assert len(equal) == 1
        found.append((index, top, left, equal[0]))
    sources, _, _, turns = zip(*found, strict=True)
    assert min(np.bincount(turns, minlength=8)) > 40  # 75 expected of each
    assert min(np.bincount(sources, minlength=3)) > 140  # 200 expected: images, not pixels, count
    for index, image in enumerate(images):  # every place, the last row and column included
        places = {(top, left) for i, top, left, _ in found if i == index}
        rows, columns = image.shape[0] - 12 + 1, image.shape[1] - 12 + 1
        assert {top for top, _ in places} == set(range(rows))
        assert {left for _, left in places} == set(range(columns))


def test_crops_have_the_memory_layout_of_training(images):
    x_BCHW, _ = ImageBank(images).crops(2, 8, rng())
    assert x_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert x_BCHW.dtype == torch.float32
    assert 0 <= x_BCHW.min() < x_BCHW.max() <= 1


def test_extent_is_the_share_of_a_typical_side(images):
    _, extent = ImageBank(images).crops(1, 12, rng())
    assert extent == pytest.approx(12 / np.mean([20, 31, 40, 24, 16, 16]))
    _, whole = ImageBank([coded(0, 16, 16)]).crops(1, 16, rng())
    assert whole == 1


def test_a_whole_image_fits_as_a_crop(images):
    x_BCHW, _ = ImageBank([images[2]]).crops(8, 16, rng())
    assert ((x_BCHW[:, 0] * 255).round() == 2).all()


def test_the_generators_state_decides_and_resumes(images):
    bank, generator = ImageBank(images), rng(5)
    bank.degraded(KINDS, 6, 16, generator)
    state = generator.get_state()
    first = bank.degraded(KINDS, 6, 16, generator)
    second = bank.degraded(KINDS, 6, 16, generator)
    resumed = rng()
    resumed.set_state(state)
    for expected in (first, second):
        again = bank.degraded(KINDS, 6, 16, resumed)
        assert all(map(torch.equal, again, expected))
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("count", [3, 6, 10, 20])
def test_degradations_share_a_batch_evenly(images, count):
    x_BCHW, y_BCHW, label_B = ImageBank(images).degraded(KINDS, count, 16, rng())
    assert x_BCHW.shape == y_BCHW.shape == (count, 3, 16, 16)
    shares = torch.bincount(label_B, minlength=len(KINDS))
    assert shares.sum() == count
    assert shares.max() - shares.min() <= 1


def test_a_batch_smaller_than_the_degradations_still_works(images):
    x_BCHW, _, label_B = ImageBank(images).degraded(KINDS, 1, 16, rng())
    assert label_B.tolist() == [0]
    assert x_BCHW.isfinite().all()


def test_a_batch_is_crops_and_their_degraded_versions(images, monkeypatch):
    calls = []

    def record(x_BCHW, kind, generator, extent):
        calls.append((kind, x_BCHW, extent))
        return x_BCHW / 2

    monkeypatch.setattr(patches, "degrade", record)
    x_BCHW, y_BCHW, label_B = ImageBank(images).degraded(KINDS, 9, 16, rng(7))
    clean, _ = ImageBank(images).crops(9, 16, rng(7))
    assert torch.equal(y_BCHW, clean)
    assert torch.equal(x_BCHW, clean / 2)
    assert [kind for kind, _, _ in calls] == list(KINDS)
    for index, (_, given, _) in enumerate(calls):
        assert torch.equal(given, clean[label_B == index])


def test_degradations_see_at_least_the_crops_share_of_a_photo(monkeypatch):
    extents = []

    def record(x_BCHW, kind, generator, extent):
        extents.append(extent)
        return x_BCHW

    monkeypatch.setattr(patches, "degrade", record)
    bank, generator = ImageBank([coded(0, 80, 80)]), rng()
    for _ in range(300):
        bank.degraded(("haze",), 1, 16, generator)
    assert 0.2 <= min(extents) < 0.21
    assert 0.95 < max(extents) <= 1  # whole photos are seen as well,
    assert sum(extent < 0.5 for extent in extents) > 150  # but mostly smaller parts


def test_a_crop_larger_than_an_image_is_refused(images):
    with pytest.raises(UserError, match="crops of 17 do not fit an image whose side is 16"):
        ImageBank(images).crops(1, 17, rng())


def test_an_empty_bank_is_refused():
    with pytest.raises(UserError, match="empty"):
        ImageBank([])


def test_listing_goes_through_all_folders_in_order(tmp_path):
    for name in ("b/2.PNG", "b/1.jpg", "b/deep/0.webp", "a/3.tif", "b/notes.txt", "b/x.npy"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = list_images([tmp_path / "b", tmp_path / "a"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b/1.jpg", "b/2.PNG", "b/deep/0.webp", "a/3.tif"]


def test_listing_names_the_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*none: .*--data"):
        list_images([tmp_path / "none"])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no images"):
        list_images([tmp_path])


def test_loading_makes_8_bit_colour_of_any_file(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.stack([values, values.T, values[::-1]], -1)).save(tmp_path / "colour.png")
    grey, deep, colour = load_images([tmp_path / f"{n}.png" for n in ("grey", "deep", "colour")])
    for image in (grey, deep, colour):
        assert image.dtype == np.uint8
        assert image.shape == (16, 16, 3)
    assert np.array_equal(grey, np.repeat(values[..., None], 3, 2))
    assert np.array_equal(deep, grey)  # 257 v of 65535 is v of 255
    assert np.array_equal(colour, np.stack([values, values.T, values[::-1]], -1))
    assert len(ImageBank([grey, deep, colour])) == 3


def test_loading_names_the_file_that_is_broken(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"bad\.png"):
        load_images([tmp_path / "bad.png"])
