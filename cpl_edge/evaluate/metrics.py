"""PSNR and SSIM as the restoration papers count them.

The protocol of the AirNet and PromptIR line: RGB, data range 1, the network's float output clipped
to [0, 1] and never rounded, images centre-cropped to a multiple of 16, the mean taken over images.
Other tables count otherwise: on luma alone (all-weather), on rounded images, without a border
(MiO100), with SSIM's original Gaussian window. A suite says which (docs/evaluation.md).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import UserError, require

FloatImage = npt.NDArray[np.float32]
Window = Literal["uniform", "gaussian"]
SSIM_WINDOW: dict[Window, int] = {"uniform": 7, "gaussian": 11}
"""Pixels a side: scikit-image's default, and the window of Wang et al. 2004."""


def crop_to_multiple(
    image_HWC: npt.NDArray[np.uint8], multiple: int, minimum: int = SSIM_WINDOW["uniform"]
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


def ssim(x_HWC: FloatImage, y_HWC: FloatImage, window: Window = "uniform") -> float:
    """Structural similarity by scikit-image: data range 1, mean over pixels and channels.

    Args:
        x_HWC: float32 in [0, 1], at least as large as the window.
        y_HWC: the image to compare with, same shape.
        window: ``"uniform"``, scikit-image's default: 7x7 pixels, sample covariance; or
            ``"gaussian"``, that of Wang et al. 2004 and BasicSR: 11x11, sigma 1.5.

    Returns:
        1 for equal images.

    Raises:
        MissingExtra: scikit-image is not installed.
    """
    metrics = require("skimage.metrics", extra="eval")
    how = {"uniform": {}, "gaussian": {"gaussian_weights": True, "use_sample_covariance": False}}
    return float(
        metrics.structural_similarity(x_HWC, y_HWC, data_range=1.0, channel_axis=-1, **how[window])
    )


def luma(x_HWC: FloatImage) -> FloatImage:
    """The Y channel of ITU-R BT.601 in studio range, as MATLAB's ``rgb2ycbcr`` gives it.

    Black is 16/255 and white 235/255: distances shrink, so PSNR with data range 1 comes out 1.3 dB
    above that of a full-range Y. Published figures "on the Y channel" have it so.

    Args:
        x_HWC: float32 RGB in [0, 1].

    Returns:
        ``y_HW1`` in [16/255, 235/255].
    """
    y_HW: FloatImage = x_HWC @ (np.array([65.481, 128.553, 24.966], np.float32) / np.float32(255))
    return y_HW[..., None] + np.float32(16 / 255)


def without_border(x_HWC: FloatImage, border: int) -> FloatImage:
    """A view without ``border`` pixels on every side."""
    return x_HWC[border : x_HWC.shape[0] - border, border : x_HWC.shape[1] - border]
