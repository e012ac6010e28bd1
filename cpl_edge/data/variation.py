"""What real photos have beside a degradation: a JPEG's marks, a dark scene, any noise.

For training alone; the evaluation suites stay as they are. Every function takes and gives float
RGB in [0, 1], multiples of 1/255 where a camera's file would be, and draws from the caller's
generator.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from cpl_edge.data.degradations import add_noise, uniform
from cpl_edge.data.jpeg import jpeg
from cpl_edge.recipe import Table

Share = Annotated[float, Field(ge=0, le=1)]
JPEG_QUALITIES = (75.0, 98.0)
EXPOSURE_GAINS = (0.5, 1.0)
EXPOSURE_GAMMAS = (1.0, 1.4)
LARGEST_SIGMA, INVISIBLE_SIGMA = 60.0, 2.0
LAMPS = 3
NIGHT_GAINS = (0.25, 0.9)
LAMP_RADII = (1.0, 12.0)  # pixels in which the light falls to 1/e
LAMP_STRENGTHS = (1.0, 6.0)  # above 1 its middle is white, as in a camera
# Haze brightens what it covers, and low light is darkness: neither has a dark scene of its own. Nor
# has a clean photo: with nothing but darkness in it, it would be a low light.
EXPOSED_ALREADY = ("haze", "lowlight")


class Variation(Table):
    """Shares of crops that differ from what the evaluation suites show.

    Without them a student took a JPEG's ringing for rain and dark photos for low light, and made
    coloured checks of a lamp at night.

    Attributes:
        jpeg: of all crops, saved as a camera's JPEG after the degradation.
        exposure: of all but haze, low light and clean ones, darkened before the degradation.
        sigma: of the noisy ones, with any strength from none to 60 instead of 15, 25 or 50.
        clean: of the noisy ones, with a sigma of 0 to 2: a photo without a fault should be taken
            for weak noise, whose restoration hardly changes it.
        weak: of all crops, with only part of their degradation, from none to all of it. A prompt
            that knows its degradation's faint end does no harm where there is none, so a photo
            between two degradations, or without any, may be taken for either.
        lamps: of all crops, a night scene before the degradation: darker, with lamps in it.
        streaks: of the rainy ones, with streaks of many sizes (:mod:`cpl_edge.data.streaks`).
    """

    jpeg: Share = 0.0
    exposure: Share = 0.0
    sigma: Share = 0.0
    clean: Share = 0.0
    weak: Share = 0.0
    lamps: Share = 0.0
    streaks: Share = 0.0


def darken(x_BCHW: Tensor, may_B: Tensor, share: float, generator: Generator) -> Tensor:
    """Some scenes darker, (gain x)^gamma.

    Args:
        x_BCHW: clean crops.
        may_B: which of them may be darkened.
        share: probability of a darker scene.
        generator: on the crops' device.
    """
    b = len(x_BCHW)
    chosen_B = (uniform(b, 0.0, 1.0, generator) < share) & may_B
    gain_B = uniform(b, *EXPOSURE_GAINS, generator)[:, None, None, None]
    gamma_B = uniform(b, *EXPOSURE_GAMMAS, generator)[:, None, None, None]
    return torch.where(chosen_B[:, None, None, None], (x_BCHW * gain_B) ** gamma_B, x_BCHW)


def light_lamps(x_BCHW: Tensor, share: float, generator: Generator) -> Tensor:
    """Some scenes at night: darker, with up to three lamps that outshine the camera.

    Args:
        x_BCHW: clean crops.
        share: probability of a night scene.
        generator: on the crops' device.
    """
    b, _, h, w = x_BCHW.shape
    chosen_B = uniform(b, 0.0, 1.0, generator) < share
    rows_H1, columns_W = (torch.arange(n, device=x_BCHW.device) for n in (h, w))
    light_BCHW = x_BCHW * uniform(b, *NIGHT_GAINS, generator)[:, None, None, None]
    few_B = uniform(b, 0.0, LAMPS, generator)
    for lamp in range(LAMPS):
        top_B, left_B = uniform(b, 0.0, h, generator), uniform(b, 0.0, w, generator)
        radius_B = _log_uniform(b, *LAMP_RADII, generator)[:, None, None]
        strength_B = uniform(b, *LAMP_STRENGTHS, generator) * (lamp <= few_B)
        # From orange to white: red, then green, then blue is strongest.
        green_B, more_B = uniform(b, 0.5, 1.0, generator), uniform(b, 0.2, 1.0, generator)
        colour_BC = torch.stack([torch.ones_like(green_B), green_B, green_B * more_B], 1)
        distance_BHW = torch.hypot(
            rows_H1[:, None] - top_B[:, None, None], columns_W - left_B[:, None, None]
        )
        shape_B1HW = (-distance_BHW / radius_B).exp()[:, None]
        light_BCHW = light_BCHW + (strength_B[:, None] * colour_BC)[..., None, None] * shape_B1HW
    return torch.where(chosen_B[:, None, None, None], _file(light_BCHW), x_BCHW)


def _log_uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low * (high / low) ** uniform(count, 0.0, 1.0, generator)


def any_noise(
    x_BCHW: Tensor, y_BCHW: Tensor, clean_B: Tensor, sigma: float, generator: Generator
) -> Tensor:
    """Some of the noisy images with another strength.

    Args:
        x_BCHW: noisy crops.
        y_BCHW: the clean ones that they were made of.
        clean_B: which get a sigma from 0 to :data:`INVISIBLE_SIGMA`.
        sigma: probability of a sigma from 0 to :data:`LARGEST_SIGMA` for the others.
        generator: on the crops' device.
    """
    b = len(x_BCHW)
    varied_B = uniform(b, 0.0, 1.0, generator) < sigma
    sigma_B = uniform(b, 0.0, 1.0, generator)
    largest_B = torch.where(clean_B, INVISIBLE_SIGMA, LARGEST_SIGMA)
    noisy = add_noise(y_BCHW, sigma_B * largest_B, generator)
    return torch.where((varied_B | clean_B)[:, None, None, None], _file(noisy), x_BCHW)


def weaken(x_BCHW: Tensor, y_BCHW: Tensor, share: float, generator: Generator) -> Tensor:
    """Some images with a part of their degradation, y + s (x - y) with s from 0 to 1.

    For noise, rain and haze that is what a weaker one of them looks like; a blur becomes one with a
    sharp core, and a dark image a mixture of two exposures.

    Args:
        x_BCHW: degraded crops.
        y_BCHW: the clean ones that they were made of.
        share: probability of a weaker one.
        generator: on the crops' device.
    """
    b = len(x_BCHW)
    chosen_B = uniform(b, 0.0, 1.0, generator) < share
    s_B111 = uniform(b, 0.0, 1.0, generator)[:, None, None, None]
    weaker = _file(y_BCHW + s_B111 * (x_BCHW - y_BCHW))
    return torch.where(chosen_B[:, None, None, None], weaker, x_BCHW)


def save_some(x_BCHW: Tensor, share: float, generator: Generator) -> Tensor:
    """Some images as a JPEG of camera quality would keep them."""
    b = len(x_BCHW)
    chosen_B = uniform(b, 0.0, 1.0, generator) < share
    quality_B = uniform(b, *JPEG_QUALITIES, generator)
    if chosen_B.any():
        x_BCHW = x_BCHW.clone()
        x_BCHW[chosen_B] = _file(jpeg(x_BCHW[chosen_B], quality_B[chosen_B]))
    return x_BCHW


def _file(x_BCHW: Tensor) -> Tensor:
    return (x_BCHW.clamp(0, 1) * 255).round() / 255
