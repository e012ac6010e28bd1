"""PSNR and SSIM as the restoration papers count them.

The protocol of the AirNet and PromptIR line: RGB, data range 1, the network's float output clipped
to [0, 1] and never rounded, images centre-cropped to a multiple of 16, the mean taken over images.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import UserError, require

FloatImage = npt.NDArray[np.float32]
SSIM_WINDOW = 7  # pixels a side: the default of scikit-image, hence of the published figures


def crop_to_multiple(
    image_HWC: npt.NDArray[np.uint8], multiple: int, minimum: int = SSIM_WINDOW
) -> npt.NDArray[np.uint8]:
    """Cut the middle of an image so that both sides are multiples of ``multiple``.

    Where an odd number of rows or columns goes, the extra one goes at the bottom or right, as in
    the code that the published figures come from.

    Args:
        image_HWC: any image.
        multiple: pixels; 1 crops nothing.
        minimum: sides in pixels that must be left.

    Returns:
        A view into the image.

    Raises:
        UserError: less than ``minimum`` pixels would be left.
    """
    height, width = image_HWC.shape[:2]
    extra_h, extra_w = height % multiple, width % multiple
    if min(height - extra_h, width - extra_w) < minimum:
        raise UserError(
            f"an image of {width}x{height} pixels is too small for this suite: use images of at "
            f"least {max(multiple, minimum)} pixels a side"
        )
    top, left = extra_h // 2, extra_w // 2
    return image_HWC[top : top + height - extra_h, left : left + width - extra_w]


def psnr(x_HWC: FloatImage, y_HWC: FloatImage) -> float:
    """Peak signal-to-noise ratio for data range 1.

    Args:
        x_HWC: float32 in [0, 1], any number of channels.
        y_HWC: the image to compare with, same shape.

    Returns:
        Decibels; infinity for equal images.
    """
    assert x_HWC.shape == y_HWC.shape, (x_HWC.shape, y_HWC.shape)
    error = float(np.mean((x_HWC - y_HWC) ** 2, dtype=np.float64))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(x_HWC: FloatImage, y_HWC: FloatImage) -> float:
    """Structural similarity by scikit-image: 7x7 uniform window, data range 1, mean over channels.

    Args:
        x_HWC: float32 in [0, 1], at least 7 pixels a side.
        y_HWC: the image to compare with, same shape.

    Returns:
        1 for equal images.

    Raises:
        MissingExtra: scikit-image is not installed.
    """
    metrics = require("skimage.metrics", extra="eval")
    return float(metrics.structural_similarity(x_HWC, y_HWC, data_range=1.0, channel_axis=-1))
