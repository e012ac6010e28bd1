"""The colour photos that come inside the scikit-image package, read without any download."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import require

PHOTOS = ("astronaut", "chelsea", "coffee", "motorcycle", "rocket")
"""The wheel's colour photos of everyday scenes; its other images are grey, drawn or scientific."""


def bundled_photos() -> list[tuple[str, npt.NDArray[np.uint8]]]:
    """Read the bundled photos.

    Returns:
        Name and ``image_HWC`` (uint8 RGB, 300x451 to 512x512 or 500x741 pixels) of each of
        :data:`PHOTOS`, in that order.

    Raises:
        MissingExtra: scikit-image is not installed.
    """
    data = require("skimage.data", extra="eval")
    photos = []
    for name in PHOTOS:
        # The stereo pair of a motorcycle comes as (left, right, disparity).
        image_HWC = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
        photos.append((name, np.ascontiguousarray(image_HWC)))
    return photos
