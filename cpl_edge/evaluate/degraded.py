"""Degraded images made from clean ones, whole photos at a time, every draw from a given seed."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from cpl_edge.errors import UserError, require
from cpl_edge.evaluate.suites import Clean, Gaussian, Made, Suite, Synthetic

Image = npt.NDArray[np.uint8]


def make(image_HWC: Image, degradation: Made, seed: int) -> tuple[Image, Image]:
    """Make what a suite's entry asks for.

    Args:
        image_HWC: clean uint8 RGB image.
        degradation: the entry.
        seed: of everything that is drawn.

    Returns:
        The degraded image, and the clean one that it is to be compared with.
    """
    clean = expose(image_HWC, degradation.exposure)
    if isinstance(degradation, Gaussian):
        degraded = add_gaussian(clean, degradation.sigma, seed)
    elif isinstance(degradation, Synthetic):
        degraded = synthesise(clean, degradation.degradation, seed)
    else:
        degraded = clean
    if degradation.jpeg:
        degraded = save_jpeg(degraded, degradation.jpeg)
    return degraded, degraded if isinstance(degradation, Clean) else clean


def expose(image_HWC: Image, exposure: float) -> Image:
    """A scene with less light: values times ``exposure``, rounded to uint8."""
    if exposure == 1:
        return image_HWC
    return np.rint(image_HWC * np.float64(exposure)).astype(np.uint8)


def add_gaussian(image_HWC: Image, sigma: float, seed: int) -> Image:
    """Noise as the published figures have it: uint8 + N(0, sigma^2), clipped, rounded to uint8.

    Args:
        image_HWC: clean uint8 image.
        sigma: standard deviation in units of 1/255.
        seed: of the noise.
    """
    noise = np.random.default_rng(seed).standard_normal(image_HWC.shape) * sigma
    return np.rint(np.clip(image_HWC + noise, 0, 255)).astype(np.uint8)


def synthesise(image_HWC: Image, degradation: str, seed: int) -> Image:
    """Degrade a whole photo by the functions that training uses, on the CPU.

    Args:
        image_HWC: clean uint8 image.
        degradation: see :class:`cpl_edge.evaluate.suites.Synthetic`.
        seed: of the strength and of everything else that is drawn.

    Raises:
        UserError: there is no such degradation.
    """
    import torch

    from cpl_edge.data import pairs

    x_HWC = torch.from_numpy(image_HWC.astype(np.float32) / 255)
    x_BCHW = x_HWC.permute(2, 0, 1)[None].contiguous()
    y_BCHW = pairs.synthesise(x_BCHW, degradation, torch.Generator().manual_seed(seed))
    y_HWC: npt.NDArray[np.float32] = y_BCHW[0].permute(1, 2, 0).numpy()
    return np.rint(y_HWC * 255).astype(np.uint8)


def save_jpeg(image_HWC: Image, quality: int) -> Image:
    """What a JPEG file keeps: written by Pillow with halved chroma (4:2:0) and read again.

    A real encoder and not :mod:`cpl_edge.data.jpeg`, with which students are trained.

    Args:
        image_HWC: uint8 RGB.
        quality: IJG quality, 1 to 100.
    """
    file = io.BytesIO()
    PillowImage.fromarray(image_HWC).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with PillowImage.open(file) as image:
        return np.asarray(image.convert("RGB"))


def check_synthetic(suite: Suite) -> None:
    """Fail before the first image rather than in the middle of a run.

    Raises:
        UserError: there is no such degradation.
        MissingExtra: torch is not installed.
    """
    wanted = [d.degradation for d in suite.degradations if isinstance(d, Synthetic)]
    if not wanted:
        return
    require("torch", extra="train")
    from cpl_edge.data.degradations import KINDS
    from cpl_edge.data.mio import MIO

    for name in "+".join(kind for kind in wanted if kind not in MIO).split("+"):
        if name and name not in KINDS:
            raise UserError(
                f"suite {suite.name!r}: no degradation {name!r}; there are {', '.join(KINDS)}"
            )
