import numpy as np
import pytest

from cpl_edge.data.images import Photo, read_photo, write_photo
from cpl_edge.errors import UserError
from cpl_edge.restore.batch import Done, restore_files
from cpl_edge.restore.files import Left, plan
from cpl_edge.restore.restorer import Restorer


@pytest.fixture
def restorer(stub):
    return Restorer(stub(lambda x, w: 1 - x))  # a result that cannot be the photo


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, shape in (("a.png", (30, 41, 3)), ("c.png", (5, 4, 3))):
        write_photo(folder / name, rng.integers(0, 256, shape, np.uint8))
    return folder


def test_each_photo_is_written_and_told(photos, restorer):
    outcomes = list(restore_files(restorer, plan([str(photos)])))
    assert [outcome.source.name for outcome in outcomes] == ["a.png", "c.png"]
    for outcome in outcomes:
        before = read_photo(outcome.source).image_HWC
        np.testing.assert_array_equal(read_photo(outcome.target).image_HWC, 255 - before)
    first = outcomes[0]
    assert (first.width, first.height, first.tiles) == (41, 30, 8)
    assert first.ms_per_megapixel == pytest.approx(first.seconds.total * 1e9 / (41 * 30))
    values = first.to_dict()
    assert values["source"] == str(photos / "a.png")
    np.testing.assert_allclose(values["weights"], [[0.26894143, 0.7310586, 0, 0]], atol=1e-6)
    assert set(values["seconds"]) == {"route", "network", "packing", "total"}
    assert f"{first.degradation} (" in str(first) and "41x30" in str(first)


def test_a_bad_photo_stops_nothing(photos, restorer):
    (photos / "b.png").write_bytes(b"this is text")
    (photos / "bb.png").write_bytes((photos / "a.png").read_bytes()[:200])
    outcomes = list(restore_files(restorer, plan([str(photos)])))
    assert [type(outcome) for outcome in outcomes] == [Done, Left, Left, Done]
    assert "not an image" in outcomes[1].reason
    assert not (photos / "b_restored.png").exists()
    assert not (photos / "bb_restored.png").exists()
    assert read_photo(photos / "c_restored.png")


def test_one_named_bad_photo_is_the_users_mistake(photos, restorer):
    (photos / "b.png").write_bytes(b"this is text")
    with pytest.raises(UserError, match="not an image"):
        list(restore_files(restorer, plan([str(photos / "b.png")])))


def test_depth_alpha_and_profile_travel_along(tmp_path, restorer):
    rng = np.random.default_rng(0)
    source = tmp_path / "deep.png"
    image = rng.integers(0, 65536, (9, 8, 3), np.uint16)
    alpha = rng.integers(0, 65536, (9, 8), np.uint16)
    write_photo(source, image, like=Photo(image, alpha_HW=alpha))
    (done,) = restore_files(restorer, plan([str(source)], tmp_path / "out.png"))
    result = read_photo(done.target)
    assert result.bits == 16
    np.testing.assert_array_equal(result.alpha_HW, alpha)
    np.testing.assert_array_equal(result.image_HWC, 65535 - image)


def test_what_the_format_cannot_hold_is_noted(tmp_path, restorer):
    source = tmp_path / "alpha.png"
    image = np.zeros((9, 8, 3), np.uint8)
    write_photo(source, image, like=Photo(image, alpha_HW=np.full((9, 8), 7, np.uint8)))
    (done,) = restore_files(restorer, plan([str(source)], tmp_path / "out.jpg"))
    assert len(done.notes) == 1 and "transparency" in done.notes[0]
    assert "note: JPEG holds no transparency" in str(done)


def test_too_large_a_photo_is_refused(photos, restorer):
    outcomes = list(restore_files(restorer, plan([str(photos)]), max_megapixels=0.001))
    assert [type(outcome) for outcome in outcomes] == [Left, Done]
    assert "--max-megapixels" in outcomes[0].reason


def test_a_folder_is_made_with_the_first_result(photos, restorer, tmp_path):
    out = tmp_path / "x" / "y"
    (photos / "a.png").write_bytes(b"text")
    outcomes = restore_files(restorer, plan([str(photos)], out))
    next(outcomes)
    assert not out.exists()
    next(outcomes)
    assert [path.name for path in out.iterdir()] == ["c.png"]


def test_a_wrong_degradation_is_told_before_any_photo(photos, restorer):
    with pytest.raises(UserError, match="'snow'"):
        list(restore_files(restorer, plan([str(photos)]), degradation="snow"))
    assert not list(photos.glob("*_restored.png"))


def test_progress_follows_the_tiles_of_each_photo(photos, restorer):
    told = []

    def begin(path):
        return lambda done, total: told.append((path.name, done, total))

    list(restore_files(restorer, plan([str(photos)]), progress=begin))
    assert told == [*(("a.png", i, 8) for i in range(1, 9)), ("c.png", 1, 1)]
