"""Rain of many drops: streaks of different sizes, softness and strength in one photo.

The rain of :mod:`cpl_edge.data.degradations` has one to three layers of sharp lines that all fall
alike. Drops near and far from a camera leave streaks of different lengths and widths; near ones
are out of focus, and a streak's brightness changes along it (Garg and Nayar, "Photorealistic
rendering of rain streaks", SIGGRAPH 2006). For training alone, as all of
:mod:`cpl_edge.data.variation`: the ranges are ours, made wide instead of fitted to a benchmark,
after a look at what students had left of Rain100L's streaks: the soft and the long ones.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from cpl_edge.data.degradations import uniform

LAYERS = 4
LENGTHS = (6.0, 120.0)  # pixels, between the points where a streak has faded
WIDTHS = (0.7, 4.0)  # pixels, of the soft profile across
COVERAGES = (0.01, 0.12)  # share of the photo below a layer's streaks
BRIGHTNESSES = (0.05, 0.7)
STEEPEST = math.radians(40)  # from vertical
SCATTER = math.radians(2.5)  # of a layer's direction around the photo's
_SIZE = 121


def streak_kernels(
    length_B: Tensor, width_B: Tensor, angle_B: Tensor, taper_B: Tensor, size: int = _SIZE
) -> Tensor:
    """Soft streaks ``kernel_BHW`` through the centre whose largest value is 1.

    Args:
        length_B: in pixels, from end to end.
        width_B: in pixels, at half of the profile's height, a Gaussian.
        angle_B: in radians from vertical.
        taper_B: how a streak fades along its length: near 0 it ends abruptly, at 2 as a cosine
            squared.
        size: odd side of the kernels; longer streaks are cut off.
    """
    axis = torch.arange(size, device=length_B.device, dtype=torch.float32) - size // 2
    y, x = axis[None, :, None], axis[None, None, :]
    sin, cos = angle_B.sin()[:, None, None], angle_B.cos()[:, None, None]
    along, across = (y * cos + x * sin).abs(), y * sin - x * cos
    profile = (-4 * math.log(2) * (across / width_B[:, None, None]) ** 2).exp()
    place = (along / (length_B[:, None, None] / 2 + 0.5)).clamp(max=1)
    fading = (place * math.pi / 2).cos().clamp(min=0) ** taper_B[:, None, None]
    kernel = profile * torch.where(place < 1, fading, 0.0)
    return kernel / kernel.amax((1, 2), keepdim=True)


def varied_rain(x_BCHW: Tensor, share: float, y_BCHW: Tensor, generator: Generator) -> Tensor:
    """Some of the rainy images with streaks of many sizes instead.

    Args:
        x_BCHW: rainy crops, float RGB in [0, 1].
        share: probability of other rain.
        y_BCHW: the clean ones that they were made of.
        generator: on the crops' device.

    Returns:
        Crops ``x_BCHW`` in [0, 1], multiples of 1/255.
    """
    chosen_B = uniform(len(y_BCHW), 0.0, 1.0, generator) < share
    b, (h, w) = int(chosen_B.sum()), y_BCHW.shape[-2:]
    if not b:
        return x_BCHW
    streaks_BHW = _streaks(b, h, w, generator)
    x_BCHW = x_BCHW.clone()
    x_BCHW[chosen_B] = ((y_BCHW[chosen_B] + streaks_BHW[:, None]).clamp(0, 1) * 255).round() / 255
    return x_BCHW


def _streaks(b: int, h: int, w: int, generator: Generator) -> Tensor:
    """Light ``streaks_BHW`` that rain adds, 0 or more."""
    n = b * LAYERS
    length_N = _log_uniform(n, *LENGTHS, generator)
    # Near drops are long, wide and out of focus at once.
    near_N = (length_N / LENGTHS[0]).log() / math.log(LENGTHS[1] / LENGTHS[0])
    width_N = WIDTHS[0] * (WIDTHS[1] / WIDTHS[0]) ** (
        0.5 * near_N + 0.5 * uniform(n, 0.0, 1.0, generator)
    )
    angle_B = uniform(b, -STEEPEST, STEEPEST, generator)
    scatter_N = torch.randn(n, generator=generator, device=generator.device) * SCATTER
    kernels_NHW = streak_kernels(
        length_N,
        width_N,
        angle_B.repeat_interleave(LAYERS) + scatter_N,
        uniform(n, 0.1, 2.0, generator),
    )
    few_B = torch.randint(1, LAYERS + 1, (b,), generator=generator, device=generator.device)
    present_BL = torch.arange(LAYERS, device=few_B.device) < few_B[:, None]
    brightness_N = _log_uniform(n, *BRIGHTNESSES, generator) * present_BL.flatten()
    density_N11 = (_log_uniform(n, *COVERAGES, generator) / (length_N * width_N))[:, None, None]
    # Drops beside the crop as well, whose streaks reach into it: a larger canvas, of which only
    # that is kept which the circular convolution's wrap does not touch.
    size = (h + _SIZE - 1, w + _SIZE - 1)
    draws_NHW = torch.rand(n, *size, generator=generator, device=generator.device)
    # A draw below the density makes a drop, and is uniform there: it says how bright it is.
    drops_NHW = (draws_NHW < density_N11) * (0.1 + 0.9 * draws_NHW / density_N11)
    spectrum = torch.fft.rfft2(drops_NHW) * torch.fft.rfft2(
        kernels_NHW * brightness_N[:, None, None], s=size
    )
    light: Tensor = torch.fft.irfft2(spectrum.unflatten(0, (b, LAYERS)).sum(1), s=size)
    return light[:, _SIZE - 1 :, _SIZE - 1 :].clamp(min=0)


def _log_uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low * (high / low) ** uniform(count, 0.0, 1.0, generator)
