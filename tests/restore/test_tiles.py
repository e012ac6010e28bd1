import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.errors import UserError
from cpl_edge.restore.tiles import grid, reflected, window

sizes = st.integers(1, 70)


@given(size=st.integers(1, 9), start=st.integers(-40, 40), length=st.integers(1, 30))
def test_reflected_is_numpys_symmetric_padding(size, start, length):
    before, after = max(0, -start), max(0, start + length - size)
    padded = np.pad(np.arange(size), (before, after), mode="symmetric")
    first = start + before
    np.testing.assert_array_equal(reflected(start, length, size), padded[first : first + length])


@given(height=sizes, width=sizes, data=st.data())
def test_window_is_that_of_the_padded_photo(height, width, data):
    image = np.arange(height * width * 3).reshape(height, width, 3)
    top = data.draw(st.integers(-40, height + 20))
    left = data.draw(st.integers(-40, width + 20))
    pad = 100
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    got = window(image, top, left, 32, 24)
    np.testing.assert_array_equal(
        got, padded[top + pad : top + pad + 32, left + pad : left + pad + 24]
    )


def test_an_inner_window_is_a_view():
    image = np.zeros((50, 40, 3), np.uint8)
    assert np.shares_memory(window(image, 3, 5, 32, 24), image)
    assert np.shares_memory(window(image, 18, 16, 32, 24), image)  # up to the last pixel
    assert not np.shares_memory(window(image, 19, 16, 32, 24), image)


@given(height=st.integers(1, 200), width=st.integers(1, 200), halo=st.integers(0, 9))
def test_tiles_cover_every_pixel_once_with_their_halo(info, height, width, halo):
    model = info(halo=halo)
    tiles = grid(height, width, model)
    covered = np.zeros((height, width), int)
    for tile in tiles:
        covered[tile.rows, tile.columns] += 1
        # In its window the core begins behind the halo and leaves one after it.
        assert tile.rows.start - tile.top == tile.columns.start - tile.left == halo
        assert tile.rows.stop - tile.top <= model.height - halo
        assert tile.columns.stop - tile.left <= model.width - halo
        # Origins are multiples relative to the padded photo, which begins at -halo.
        assert (tile.top + halo) % model.multiple == (tile.left + halo) % model.multiple == 0
    assert (covered == 1).all()
    assert len(tiles) == len(list(tiles))


@pytest.mark.parametrize(
    ("halo", "tiles"), [(0, 3 * 4), (4, 4 * 6), (6, 5 * 8), (8, 6 * 12), (10, 8 * 24)]
)
def test_the_number_of_tiles_is_the_least_that_the_halo_allows(info, halo, tiles):
    assert len(grid(96, 96, info(halo=halo))) == tiles


def test_a_model_that_is_all_halo_is_refused(info):
    with pytest.raises(UserError, match="--size of 28 or more"):
        grid(10, 10, info(halo=12))
