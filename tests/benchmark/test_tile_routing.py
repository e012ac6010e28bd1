from contextlib import closing

import numpy as np
import pytest

from cpl_edge.benchmark.tile_routing import (
    can_be_told,
    compare_routing,
    find_seams,
    restore_per_tile,
)
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import open_runtime


@pytest.fixture
def runtime(make_build):
    with closing(open_runtime(make_build("toy"))) as opened:
        yield opened


def two_halves():
    """Dark on the left and bright on the right: the toy's router selects noise, then rain.

    Its tiles restore 12 rows and 8 columns, and the photo's mean stays below one half.
    """
    image_HWC = np.full((24, 40, 3), 0.1, np.float32)
    image_HWC[:, 24:] = 0.8
    return image_HWC


def test_tiles_routed_alone_disagree_and_make_a_seam(runtime):
    image_HWC = two_halves()
    row = compare_routing(Restorer(runtime), "halves", "nothing", image_HWC, image_HWC)
    assert (row.tiles, row.selected) == (10, "noise")
    assert row.selected_by_tile == {"noise": 6, "rain": 4}
    assert row.disagreeing == pytest.approx(0.4)
    assert row.neighbours_differing == pytest.approx(2 / 13)
    assert row.weights_spread > 0.1
    # Each tile adds a number of its own: all steps lie on borders.
    assert row.worst_seam > row.seam_step > 1 > row.inside_step == pytest.approx(0, abs=1e-3)


def test_where_all_tiles_see_the_same_nothing_differs(runtime):
    image_HWC = np.full((24, 40, 3), 0.1, np.float32)
    row = compare_routing(Restorer(runtime), "flat", "nothing", image_HWC, image_HWC)
    assert row.disagreeing == row.neighbours_differing == 0
    assert row.worst_seam == pytest.approx(0, abs=1e-3)
    assert row.psnr_photo == pytest.approx(row.psnr_tile, abs=1e-3)


def test_with_one_tile_both_ways_are_one(runtime):
    rng = np.random.default_rng(1)
    image_HWC = rng.random((12, 8, 3), np.float32) * np.float32(0.5)
    tiled_HWC, weights_TN = restore_per_tile(runtime, image_HWC)
    assert weights_TN.shape == (1, 4)
    told = Restorer(runtime).restore_float(image_HWC, weights_TN)
    np.testing.assert_allclose(tiled_HWC, told.image_HWC, atol=1e-6)


def test_steps_are_told_apart():
    difference_HWC = np.zeros((6, 9, 3), np.float32)
    difference_HWC[:, 3:6] = 1  # the middle of three columns of tiles
    difference_HWC[4:, 6:] = 5  # and the last tile: 4 beside its neighbour, 5 below the other
    seams = find_seams(difference_HWC, (4, 3))
    borders = 6 * 2 + 9  # pixels beside a border: two upright ones, one lying
    assert seams.border == pytest.approx((6 + 4 + 2 * 4 + 3 * 5) / borders)
    assert seams.inside == 0 and seams.worst == 5
    difference_HWC[0, 0] = 7
    assert find_seams(difference_HWC, (4, 3)).inside > 0
    assert find_seams(difference_HWC[:4, :3], (4, 3)).border == 0


def test_a_pinned_file_cannot_be_told(make_build):
    path = make_build("p", entry_points=("forward",), routing="pinned", pinned="rain")
    with closing(open_runtime(path)) as runtime:
        assert not can_be_told(runtime.info)
