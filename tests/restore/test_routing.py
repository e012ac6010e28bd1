import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.restore.routing import crop_origins, forced, probabilities, select

# Few values, so that ties are common; near ones, which the student mixes, as well.
scores = st.one_of(
    st.integers(-24, 24).map(lambda n: n / 4),
    st.floats(-30, 30, width=32),
    st.sampled_from([1.0, float(np.nextafter(np.float32(1), np.float32(2))), 1.0000005]),
)
LOGITS = st.lists(scores, min_size=40, max_size=40).map(
    lambda values: np.array(values, np.float32).reshape(2, 20)
)


def test_the_first_of_equal_degradations_is_selected():
    logits = np.array([[1, 2, 2, 0, 0, 1, 2, 3, 3]], np.float32)
    np.testing.assert_allclose(
        select(logits, 3, 2), [[0, 0, 0.26894143, 0.7310586, 0, 0]], atol=1e-6
    )


def test_forced_weights_are_the_levels_of_that_degradation():
    logits = np.array([[1, 2, 2, 0, 0, 1, 1, 3, 4]], np.float32)
    np.testing.assert_allclose(
        forced(logits, 3, 2, 2), [[0, 0, 0, 0, 0.26894143, 0.7310586]], atol=1e-6
    )


def test_probabilities_are_the_mean_over_sites():
    logits = np.log([[1, 3, 9, 9], [3, 1, 9, 9]]).astype(np.float32)
    np.testing.assert_allclose(probabilities(logits, 2), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(probabilities(logits[:1], 2), [0.25, 0.75], atol=1e-6)


@given(LOGITS)
def test_select_and_forced_are_those_of_the_student(logits):
    torch = pytest.importorskip("torch")
    from cpl_edge.models.student import Student, StudentConfig

    config = StudentConfig(widths=(1, 1), blocks=(0, 0, 0), router_widths=(1, 1), router_hidden=1)
    student = Student(config)
    logits_BSL = torch.from_numpy(logits)[None]
    before = logits.copy()
    np.testing.assert_allclose(
        select(logits, 5, 3), student.select(logits_BSL)[0].numpy(), atol=1e-6
    )
    for index in range(5):
        wanted = student.forced(logits_BSL, torch.tensor([index]))[0].numpy()
        np.testing.assert_allclose(forced(logits, 5, 3, index), wanted, atol=1e-6)
    np.testing.assert_array_equal(logits, before)


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(16, 256), st.integers(16, 256)),
    st.integers(1, 12),
)
def test_crops_lie_in_the_photo_and_are_distinct(photo, crop, most):
    origins = crop_origins(photo, crop, most)
    assert 1 <= len(origins) <= most
    assert len(set(origins)) == len(origins)
    for axis in (0, 1):
        starts = {origin[axis] for origin in origins}
        last = max(0, photo[axis] - crop[axis])
        assert min(starts) >= 0 and max(starts) <= last
        if len(starts) > 1:  # from edge to edge
            assert (min(starts), max(starts)) == (0, last)


@pytest.mark.parametrize(
    ("photo", "origins"),
    [
        ((100, 200), [(0, 0)]),
        ((256, 256), [(0, 0)]),
        ((256, 300), [(0, 0), (0, 44)]),
        ((3000, 4000), [(y, x) for y in (0, 1372, 2744) for x in (0, 1872, 3744)]),
        ((17, 3000), [(0, 343 * i) for i in range(9)]),
        ((3000, 17), [(343 * i, 0) for i in range(9)]),
        ((500, 4000), [(y, x) for y in (0, 244) for x in (0, 1248, 2496, 3744)]),
    ],
    ids=str,
)
def test_crops_spread_over_the_photo(photo, origins):
    assert crop_origins(photo, (256, 256), 9) == origins


def test_a_single_crop_of_a_large_photo_is_its_middle():
    assert crop_origins((300, 456), (256, 256), 1) == [(22, 100)]
