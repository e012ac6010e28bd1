"""Degraded images: dark scenes, files saved as JPEG, images that nothing is wrong with."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from cpl_edge.errors import UserError
from cpl_edge.evaluate.degraded import (
    add_gaussian,
    check_synthetic,
    expose,
    make,
    save_jpeg,
    synthesise,
)
from cpl_edge.evaluate.suites import Suite

PHOTO = np.ascontiguousarray(chelsea()[:96, 100:228])


def entry(**values):
    suite = {"name": "t", "about": "t", "images": "x", "degradations": ({"label": "t", **values},)}
    return Suite.model_validate(suite).degradations[0]


def test_exposure_darkens_the_clean_image_too():
    degraded, clean = make(PHOTO, entry(kind="gaussian", sigma=15.0, exposure=0.5), 3)
    assert np.array_equal(clean, np.rint(PHOTO * 0.5))
    assert np.array_equal(degraded, add_gaussian(clean, 15, 3))
    assert expose(PHOTO, 1) is PHOTO
    assert expose(np.full((1, 1, 3), 101, np.uint8), 0.5).tolist() == [[[50, 50, 50]]]


def test_a_degraded_image_is_saved_as_jpeg_and_the_clean_one_is_not():
    degraded, clean = make(PHOTO, entry(kind="gaussian", sigma=25.0, jpeg=88), 3)
    assert np.array_equal(clean, PHOTO)
    assert np.array_equal(degraded, save_jpeg(add_gaussian(PHOTO, 25, 3), 88))
    assert not np.array_equal(degraded, add_gaussian(PHOTO, 25, 3))


def test_jpeg_halves_the_chroma_and_keeps_quality():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = 255  # red columns of one pixel: chroma that 4:2:0 cannot keep
    kept = save_jpeg(stripes, 100).astype(int)
    assert np.abs(kept[:, ::2, 0] - kept[:, 1::2, 0]).mean() < 200
    errors = [np.abs(save_jpeg(PHOTO, q).astype(int) - PHOTO).mean() for q in (100, 90, 30)]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert save_jpeg(PHOTO, 90).shape == PHOTO.shape
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", quality=90, subsampling=2)
    assert np.array_equal(save_jpeg(PHOTO, 90), np.asarray(Image.open(file)))


@pytest.mark.parametrize("values", [{}, {"jpeg": 92}, {"exposure": 0.5}])
def test_of_a_clean_image_nothing_is_to_be_mended(values):
    degraded, clean = make(PHOTO, entry(kind="clean", **values), 3)
    assert np.array_equal(degraded, clean)
    assert np.array_equal(clean, PHOTO) == (not values)


def test_degradations_of_the_seven_tasks_are_known():
    pytest.importorskip("torch")
    blurred = synthesise(PHOTO, "mio-blur", 3)
    assert np.array_equal(blurred, synthesise(PHOTO, "mio-blur", 3))
    assert np.abs(np.diff(blurred.astype(int), axis=1)).mean() < 0.7 * (
        np.abs(np.diff(PHOTO.astype(int), axis=1)).mean()
    )


@pytest.mark.parametrize(
    ("degradation", "wrong"),
    [("mio-sr", None), ("haze+jpeg", None), ("fog", "fog"), ("mio-fog", "mio-fog")],
)
def test_names_are_checked_before_anything_runs(degradation, wrong):
    pytest.importorskip("torch")
    values = {"label": "t", "kind": "synthetic", "degradation": degradation}
    suite = Suite.model_validate(
        {"name": "mine", "about": "t", "images": "x", "degradations": (values,)}
    )
    if wrong is None:
        check_synthetic(suite)
        return
    with pytest.raises(UserError, match=f"suite 'mine': no degradation '{wrong}'; there are noise"):
        check_synthetic(suite)
