"""The seven degradations of the multiple-in-one setting (MiO100; method section 6), on the device.

The functions have the form of those in :mod:`cpl_edge.data.degradations`: each image of a batch
gets its own strength, drawn from the ranges below. The authors publish ranges but no exact
formulas for all of them; what is inferred is marked [I].

=========  ==================================================================================
sr         bicubic to a quarter and back
blur       isotropic Gaussian of sigma 1-3, cut to a kernel of 7-21 pixels
noise      Gaussian of sigma 15-50 of 255
jpeg       quality 30-70
rain       drops on 0.5-1 of 256 pixels [I] drawn out to streaks of length 20-40, within 45
           degrees of vertical, softened by a Gaussian of 3-11 pixels, scaled to a brightest
           streak of 1 [I], added
haze       x t + A (1 - t), t = exp(-B depth), A 0.8-1, B 0.5-2.5; smooth random depth in [0, 1]
           instead of an estimated one [I]
lowlight   x^gamma, gamma 1-3 [I]
=========  ==================================================================================
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpl_edge.data.degradations import (
    Degradation,
    add_noise,
    convolve,
    line_kernels,
    smooth_field,
    transmission,
    uniform,
)
from cpl_edge.data.jpeg import jpeg

_BLUR_SIZE = 21
_STREAK_SIZE = 61  # the longest streak and its soft ends


def odd_sizes(n: int, low: int, high: int, generator: Generator) -> Tensor:
    """``n`` odd sizes in [low, high], each as likely, float32."""
    draws = torch.randint(
        low // 2, high // 2 + 1, (n,), generator=generator, device=generator.device
    )
    return (2 * draws + 1).float()


def gaussian_kernels(sigma_B: Tensor, cut_B: Tensor, size: int) -> Tensor:
    """Isotropic Gaussians ``kernel_BHW`` that sum to 1.

    Args:
        sigma_B: standard deviations in pixels.
        cut_B: odd sides outside of which a kernel is 0.
        size: odd side of the result.
    """
    axis = torch.arange(size, device=sigma_B.device, dtype=torch.float32) - size // 2
    line_BW = torch.exp(-0.5 * (axis / sigma_B[:, None]) ** 2) * (axis.abs() <= cut_B[:, None] / 2)
    kernel = line_BW[:, :, None] * line_BW[:, None, :]
    return kernel / kernel.sum((1, 2), keepdim=True)


def super_resolution(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Lose detail to a quarter of the size; ``antialias`` makes it the usual bicubic filter."""
    h, w = x_BCHW.shape[-2:]
    small = (max(1, h // 4), max(1, w // 4))
    x_BCHW = F.interpolate(x_BCHW, size=small, mode="bicubic", antialias=True)
    return F.interpolate(x_BCHW, size=(h, w), mode="bicubic", antialias=True)


def blur(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Gaussian blur."""
    b = len(x_BCHW)
    sigma_B = uniform(b, 1.0, 3.0, generator)
    cut_B = odd_sizes(b, 7, _BLUR_SIZE, generator)
    return convolve(x_BCHW, gaussian_kernels(sigma_B, cut_B, _BLUR_SIZE))


def noise(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Gaussian noise of any level."""
    return add_noise(x_BCHW, uniform(len(x_BCHW), 15.0, 50.0, generator), generator)


def compress(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """JPEG of middling quality."""
    return jpeg(x_BCHW.clamp(0, 1), uniform(len(x_BCHW), 30.0, 70.0, generator))


def rain(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Streaks of one direction, length and width."""
    b, _, h, w = x_BCHW.shape
    density_B = uniform(b, 50.0, 100.0, generator) / 100 / 256
    drops = torch.rand(b, 1, h, w, generator=generator, device=x_BCHW.device)
    length_B = uniform(b, 20.0, 40.0, generator)
    angle_B = uniform(b, -math.pi / 4, math.pi / 4, generator)
    cut_B = odd_sizes(b, 3, 11, generator)
    sigma_B = 0.3 * (cut_B / 2 - 1.5) + 0.8  # OpenCV's for a kernel of this size
    lines = line_kernels(length_B, angle_B, 1.0, _STREAK_SIZE)
    soft = convolve(lines[:, None], gaussian_kernels(sigma_B, cut_B, 11))[:, 0]
    streaks = convolve((drops < density_B[:, None, None, None]).float(), soft)
    return x_BCHW + streaks / streaks.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)


def haze(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Atmospheric scattering."""
    b, _, h, w = x_BCHW.shape
    depth_BHW = smooth_field(b, h, w, extent, generator)
    t_B1HW = transmission(depth_BHW, uniform(b, 0.5, 2.5, generator))[:, None]
    light = uniform(b, 0.8, 1.0, generator)[:, None, None, None]
    return x_BCHW * t_B1HW + light * (1 - t_B1HW)


def lowlight(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Darken all but black and white."""
    return x_BCHW ** uniform(len(x_BCHW), 1.0, 3.0, generator)[:, None, None, None]


MIO: dict[str, Degradation] = {
    "mio-sr": super_resolution,
    "mio-blur": blur,
    "mio-noise": noise,
    "mio-jpeg": compress,
    "mio-rain": rain,
    "mio-haze": haze,
    "mio-lowlight": lowlight,
}
