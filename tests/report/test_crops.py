import base64
import io

import numpy as np
import pytest
from PIL import Image

from cpl_edge.report.crops import PIXELS, data_uri, make_crops


def test_a_picture_survives_its_uri():
    image_HWC = np.zeros((16, 24, 3), np.uint8)
    image_HWC[:, 12:] = (250, 120, 10)
    head, data = data_uri(image_HWC).split(",")
    assert head == "data:image/webp;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert back.shape == image_HWC.shape
    assert np.abs(back[:, 16:].astype(int) - (250, 120, 10)).max() < 12


def test_one_crop_for_each_degradation():
    pytest.importorskip("torch")
    pytest.importorskip("skimage")
    crops = make_crops("s", threads=1)
    assert len({crop.name for crop in crops}) == 5
    assert len({crop.title.split()[-1] for crop in crops}) == 5  # photos
    for crop in crops:
        assert "taken for" in crop.caption
        uris = {crop.degraded, crop.restored, crop.clean}
        assert len(uris) == 3
        for uri in uris:
            picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
            assert picture.size == (PIXELS, PIXELS)
    assert sum(len(c.degraded + c.restored + c.clean) for c in crops) < 500_000
