import tracemalloc

import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.restore.restorer import Restorer

HALO, MULTIPLE = 6, 4
PHASE = np.arange(1, 17, dtype=np.float32).reshape(4, 4) / 16  # a grid of the network's own


def corners(x_BHWC, w=None):
    """As far as a halo reaches, and different for each pixel of the network's grid.

    What lies outside counts as zero, as in a padded convolution, so that a tile that lacks context
    gives another result.
    """
    _, height, width, _ = x_BHWC.shape
    padded = np.pad(x_BHWC, ((0, 0), (HALO, HALO), (HALO, HALO), (0, 0)))
    total = np.zeros_like(x_BHWC)
    for weight, dy, dx in ((1, 0, 0), (2, 2, 2), (3, 0, 2), (4, 2, 0), (5, 1, 1)):
        y, x = dy * HALO, dx * HALO
        total += np.float32(weight / 16) * padded[:, y : y + height, x : x + width]
    rows, columns = np.arange(height) % MULTIPLE, np.arange(width) % MULTIPLE
    return total * PHASE[rows[:, None], columns][..., None]


def photo(height, width, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)


def whole(image_HWC, network, halo=HALO):
    """The network on the whole photo, padded by the halo."""
    pad = ((halo, halo), (halo, halo), (0, 0))
    padded = np.pad(image_HWC.astype(np.float32) / 255, pad, mode="symmetric")
    return network(padded[None])[0][halo:-halo, halo:-halo].clip(0, 1)


SIZES = [(1, 1), (1, 50), (17, 300), (20, 12), (21, 13), (32, 24), (64, 61), (97, 150)]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiled_equals_whole(stub, size, layout):
    image = photo(*size)
    restored = Restorer(stub(corners, layout=layout)).restore_float(image)
    assert restored.image_HWC.dtype == np.float32
    np.testing.assert_allclose(restored.image_HWC, whole(image, corners), atol=1e-6)


def test_too_small_a_halo_would_be_noticed(stub):
    """The test above can fail: here the network looks one pixel further than its file says."""
    image = photo(64, 61)
    restored = Restorer(stub(corners, halo=HALO - 1)).restore_float(image)
    assert np.abs(restored.image_HWC - whole(image, corners, HALO - 1)).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (17, 3000), (3000, 17), (3000, 4000)], ids=str)
def test_any_size_comes_back_whole(stub, size, dtype):
    image = photo(*size, dtype=dtype)
    before = image.copy() if image.size < 1e6 else None
    restored = Restorer(stub(height=1024, width=512)).restore(image)
    assert restored.image_HWC.dtype == dtype
    np.testing.assert_array_equal(restored.image_HWC, image)
    assert restored.image_HWC.flags.c_contiguous
    assert not np.shares_memory(restored.image_HWC, image)
    if before is not None:
        np.testing.assert_array_equal(image, before)


def test_a_turned_view_is_a_photo_too(stub):
    image = np.rot90(photo(40, 50))[::-1]
    np.testing.assert_array_equal(Restorer(stub()).restore(image).image_HWC, image)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(-0.5, 0), (0.49 / 255, 0), (0.51 / 255, 1), (127.51 / 255, 128), (1, 255), (7, 255)],
)
def test_results_are_clipped_and_rounded(stub, value, rounded):
    restorer = Restorer(stub(lambda x, w: np.full_like(x, value)))
    assert (restorer.restore(photo(5, 5)).image_HWC == rounded).all()
    exact = restorer.restore_float(photo(5, 5)).image_HWC
    np.testing.assert_allclose(exact, np.clip(value, 0, 1), atol=1e-7)
    sixteen = restorer.restore(photo(5, 5, dtype=np.uint16)).image_HWC
    assert (sixteen == round(min(max(value, 0), 1) * 65535)).all()


def test_memory_does_not_grow_with_the_photo(stub):
    restorer = Restorer(stub(height=256, width=256), crops=1)
    extra = []
    for side in (300, 2048):
        image = np.zeros((side, side, 3), np.uint8)
        tracemalloc.start()
        result = restorer.restore(image).image_HWC
        extra.append(tracemalloc.get_traced_memory()[1] - result.nbytes)
        tracemalloc.stop()
    assert extra[1] < extra[0] + 100_000  # bytes; the photo grew by 12 million
    assert extra[1] < 2_500_000


def test_a_photo_is_routed_once(stub):
    image = photo(200, 150)
    image[:100] //= 4  # crops differ
    runtime = stub()
    restored = Restorer(runtime).restore(image)
    names = [name for name, _ in runtime.calls]
    assert names.count("route") == 9 and names.count("restore") == restored.tiles == 130
    for name, w in runtime.calls:
        if name == "restore":
            np.testing.assert_array_equal(w, restored.weights_SN[None])
    mean = np.mean([crop.mean() for crop in runtime.crops])
    wanted = 1 / (1 + np.exp(0.5 - mean))
    assert restored.probabilities["rain"] == pytest.approx(wanted, abs=1e-5)


def test_crops_show_the_photo_at_its_own_resolution(stub):
    image, runtime = photo(32, 100), stub()
    Restorer(runtime, crops=2).restore(image)
    for crop, left in zip(runtime.crops, (0, 76), strict=True):
        np.testing.assert_allclose(
            crop[0].transpose(1, 2, 0), image[:, left : left + 24] / np.float32(255), atol=1e-7
        )


@pytest.mark.parametrize(
    ("brightness", "degradation", "selected"),
    [
        (60, "auto", "noise"),
        (200, "auto", "rain"),
        (200, "noise", "noise"),
        (60, "rain", "rain"),
    ],
)
def test_the_selection_follows_the_router_or_the_user(stub, brightness, degradation, selected):
    image = np.full((40, 30, 3), brightness, np.uint8)
    restored = Restorer(stub()).restore(image, degradation)
    assert restored.degradation == selected
    levels = [0.26894143, 0.7310586] if selected == "noise" else [0.5, 0.5]
    wanted = [*levels, 0, 0] if selected == "noise" else [0, 0, *levels]
    np.testing.assert_allclose(restored.weights_SN, [wanted], atol=1e-6)
    assert sum(restored.probabilities.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
def test_weights_can_be_given(stub, shape):
    runtime = stub()
    given = np.array([0.1, 0.2, 0.3, 0.4]).reshape(shape)
    restored = Restorer(runtime).restore(photo(40, 30), given)
    assert {name for name, _ in runtime.calls} == {"restore"}
    np.testing.assert_allclose(restored.weights_SN, [[0.1, 0.2, 0.3, 0.4]], atol=1e-7)
    assert restored.degradation == "rain" and restored.probabilities == {}


def test_weights_reach_every_site(stub):
    runtime = stub(sites=3)
    restored = Restorer(runtime).restore(photo(10, 10), np.array([0, 0, 0, 1]))
    assert restored.weights_SN.shape == (3, 4)
    assert Restorer(runtime).restore(photo(10, 10)).weights_SN.shape == (3, 4)


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((2, 4)), np.full(4, np.nan)])
def test_weights_that_do_not_fit_are_refused(stub, bad):
    with pytest.raises(UserError, match="4 finite numbers"):
        Restorer(stub()).restore(photo(4, 4), bad)


def test_an_unknown_degradation_names_the_known(stub):
    with pytest.raises(UserError, match="'snow': choose auto or one of noise, rain"):
        Restorer(stub()).restore(photo(4, 4), "snow")


def test_a_pinned_file_is_not_routed(stub):
    runtime = stub(routing="pinned", pinned="rain", entry_points=("forward",))
    for degradation in ("auto", "rain"):
        restored = Restorer(runtime).restore(photo(40, 30), degradation)
        assert restored.degradation == "rain" and restored.weights_SN is None
    assert {name for name, _ in runtime.calls} == {"forward"}
    with pytest.raises(UserError, match="pinned to 'rain' and cannot restore 'noise'"):
        Restorer(runtime).restore(photo(4, 4), "noise")
    with pytest.raises(UserError, match="takes no weights"):
        Restorer(runtime).restore(photo(4, 4), np.ones(4))


def test_a_told_file_is_routed_for_its_levels(stub):
    runtime = stub(routing="told", pinned="rain")
    for degradation in ("auto", "rain"):
        restored = Restorer(runtime).restore(photo(40, 30), degradation)
        assert restored.weights_SN is not None
    assert {name for name, _ in runtime.calls} == {"route", "restore"}
    with pytest.raises(UserError, match="pinned to 'rain' and cannot restore 'noise'"):
        Restorer(runtime).restore(photo(4, 4), "noise")


def test_a_file_with_forward_alone_routes_inside(stub):
    runtime = stub(entry_points=("forward",))
    restored = Restorer(runtime).restore(photo(40, 30))
    assert (restored.degradation, restored.weights_SN, restored.probabilities) == (None, None, {})
    assert {name for name, _ in runtime.calls} == {"forward"}
    with pytest.raises(UserError, match="takes no choice"):
        Restorer(runtime).restore(photo(4, 4), "rain")


def test_progress_and_seconds_tell_of_every_tile(stub):
    told = []
    restored = Restorer(stub()).restore(photo(40, 30), progress=lambda *step: told.append(step))
    assert told == [(i, restored.tiles) for i in range(1, restored.tiles + 1)]
    seconds = restored.seconds
    parts = (seconds.route, seconds.network, seconds.packing)
    assert min(parts) > 0 and sum(parts) <= seconds.total


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4, 3), np.int16),
    ],
    ids=lambda a: f"{a.shape}{a.dtype}",
)
def test_what_is_no_photo_is_refused(stub, bad):
    for restore in (Restorer(stub()).restore, Restorer(stub()).restore_float):
        with pytest.raises(ValueError, match="image_HWC must be"):
            restore(bad)


def test_a_model_that_is_all_halo_is_refused(stub):
    with pytest.raises(UserError, match="--size"):
        Restorer(stub(halo=12))
