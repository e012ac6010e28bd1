"""The bundled photos come without a download."""

import sys
from importlib.metadata import files

import numpy as np
import pytest

from cpl_edge.data.photos import PHOTOS, bundled_photos
from cpl_edge.errors import MissingExtra


def test_five_colour_photos():
    photos = bundled_photos()
    assert [name for name, _ in photos] == list(PHOTOS)
    for name, image_HWC in photos:
        assert image_HWC.dtype == np.uint8 and image_HWC.ndim == 3 and image_HWC.shape[2] == 3, name
        assert min(image_HWC.shape[:2]) >= 300
        assert image_HWC.std() > 30 and np.ptp(image_HWC.astype(int), axis=2).max() > 50, name


def test_every_photo_lies_inside_the_package():
    shipped = {path.name for path in files("scikit-image") if path.parent.name == "data"}
    wanted = {"astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"}
    assert wanted <= shipped


def test_missing_package_gets_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(MissingExtra, match=r"pip install 'cpl-edge\[eval\]'"):
        bundled_photos()
