"""Degradations as batched torch functions: same code for training crops and for test photos.

Every function takes ``x_BCHW``, clean float RGB in [0, 1] on any device, and a ``torch.Generator``
on that device; each image of the batch gets its own strength. :func:`degrade` is the entry point:
it draws the parameters, applies one degradation or a composition (``"haze+rain"``) and rounds to
8 bit as a camera file would be.

All of them are synthetic. Noise follows the AirNet/PromptIR protocol (method section 6); rain,
haze, blur and low light are the usual formation models with ranges of our own:

=========  ==================================================================================
noise      x + N(0, sigma^2), sigma 15, 25 or 50 of 255
blur       defocus disc of radius 1-3.5 pixels, or motion line of length 5-15 at any angle
rain       added bright streaks of one direction (within 30 degrees of vertical), 1-3 layers
haze       x t + A (1 - t), t = exp(-beta depth), depth smooth over the photo and deeper at the
           top, A 0.75-1, beta 0.6-2
lowlight   (gain x)^gamma + sensor noise, gain 0.3-0.7, gamma 1.2-2.2, sigma 0-0.02
jpeg       baseline JPEG of quality 10-40 (:mod:`cpl_edge.data.jpeg`)
=========  ==================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpl_edge.data.jpeg import jpeg
from cpl_edge.errors import UserError

NOISE_SIGMAS = (15.0, 25.0, 50.0)
_STREAK_SIZE = 41
_BLUR_SIZE = 17


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """``n`` uniform draws in [low, high) on the generator's device, float32."""
    draws = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * draws


def _column(values: Tensor | float) -> Tensor | float:
    return values[:, None, None, None] if isinstance(values, Tensor) else values


def add_noise(x_BCHW: Tensor, sigma_B: Tensor | float, generator: Generator) -> Tensor:
    """Gaussian noise of standard deviation ``sigma_B`` in units of 1/255, not clipped."""
    noise = torch.randn(x_BCHW.shape, generator=generator, device=x_BCHW.device)
    return x_BCHW + noise * (_column(sigma_B) / 255.0)


def convolve(x_BCHW: Tensor, kernel_BHW: Tensor) -> Tensor:
    """Convolve each image with its own odd-sized kernel, mirrored at the borders (by FFT)."""
    h, w = x_BCHW.shape[-2:]
    r = kernel_BHW.shape[-1] // 2
    # Images smaller than the kernel cannot be mirrored far enough: repeat their edge instead.
    mode = "reflect" if min(h, w) > r else "replicate"
    padded = F.pad(x_BCHW, (r, r, r, r), mode=mode)
    size = (padded.shape[-2] + 2 * r, padded.shape[-1] + 2 * r)
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel_BHW[:, None], s=size)
    full: Tensor = torch.fft.irfft2(spectrum, s=size)
    return full[..., 2 * r : 2 * r + h, 2 * r : 2 * r + w]


def _kernel_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    axis = torch.arange(size, device=device, dtype=torch.float32) - size // 2
    return axis[None, :, None], axis[None, None, :]


def line_kernels(length_B: Tensor, angle_B: Tensor, width: Tensor | float, size: int) -> Tensor:
    """Anti-aliased line segments ``kernel_BHW`` through the centre that sum to 1.

    Args:
        length_B: lengths in pixels.
        angle_B: angles in radians from vertical.
        width: thickness in pixels, one or per image.
        size: odd side of the kernels.
    """
    y, x = _kernel_grid(size, length_B.device)
    sin, cos = angle_B.sin()[:, None, None], angle_B.cos()[:, None, None]
    along, across = (y * cos + x * sin).abs(), (y * sin - x * cos).abs()
    half = width[:, None, None] / 2 if isinstance(width, Tensor) else width / 2
    kernel = (half + 0.5 - across).clamp(0, 1) * (length_B[:, None, None] / 2 + 0.5 - along).clamp(
        0, 1
    )
    return kernel / kernel.sum((1, 2), keepdim=True)


def disc_kernels(radius_B: Tensor, size: int) -> Tensor:
    """Anti-aliased discs ``kernel_BHW`` of the given radii in pixels that sum to 1."""
    y, x = _kernel_grid(size, radius_B.device)
    kernel = (radius_B[:, None, None] + 0.5 - (y * y + x * x).sqrt()).clamp(0, 1)
    return kernel / kernel.sum((1, 2), keepdim=True)


def noise(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Sigma 15, 25 or 50, each as likely."""
    choice = torch.randint(
        len(NOISE_SIGMAS), (len(x_BCHW),), generator=generator, device=x_BCHW.device
    )
    return add_noise(x_BCHW, torch.tensor(NOISE_SIGMAS, device=x_BCHW.device)[choice], generator)


def blur(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Defocus or motion blur, each as likely."""
    b = len(x_BCHW)
    discs = disc_kernels(uniform(b, 1.0, 3.5, generator), _BLUR_SIZE)
    lines = line_kernels(
        uniform(b, 5.0, 15.0, generator), uniform(b, 0.0, math.pi, generator), 1.0, _BLUR_SIZE
    )
    moving_B = uniform(b, 0.0, 1.0, generator) < 0.5
    return convolve(x_BCHW, torch.where(moving_B[:, None, None], lines, discs))


def rain(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Bright streaks added to the image: sparse drops of varied brightness drawn out to lines."""
    b, _, h, w = x_BCHW.shape
    angle_B = uniform(b, -math.pi / 6, math.pi / 6, generator)
    layers_B = torch.randint(1, 4, (b,), generator=generator, device=x_BCHW.device)
    streaks_B1HW = x_BCHW.new_zeros(b, 1, h, w)
    for layer in range(3):
        length_B = uniform(b, 9.0, 36.0, generator)
        width_B = uniform(b, 0.8, 2.2, generator)
        density_B = uniform(b, 0.02, 0.14, generator) / (length_B * width_B)
        brightness_B = uniform(b, 0.12, 0.6, generator)
        draws = torch.rand(2, b, 1, h, w, generator=generator, device=x_BCHW.device)
        drops = (draws[0] < density_B[:, None, None, None]) * (0.4 + 0.6 * draws[1])
        kernels = line_kernels(length_B, angle_B, width_B, _STREAK_SIZE)
        kernels = kernels / kernels.amax((1, 2), keepdim=True)
        present_B = (layers_B > layer) * brightness_B
        streaks_B1HW += convolve(drops, kernels) * present_B[:, None, None, None]
    return x_BCHW + streaks_B1HW.clamp(0, 1)


def smooth_field(b: int, h: int, w: int, extent: float, generator: Generator) -> Tensor:
    """Random field ``field_BHW`` in [0, 1] that varies smoothly over a photo.

    Args:
        b: images.
        h: rows.
        w: columns.
        extent: share of the photo's side that the image shows: 1 for a whole photo, less for a
            crop, which then sees a random window of a photo-sized field.
        generator: source of randomness.
    """
    device = generator.device
    grid = torch.rand(b, 1, 5, 5, generator=generator, device=device)
    top_left_B2 = uniform(b * 2, 0.0, 1.0, generator).view(b, 2) * (1 - extent)
    rows = torch.linspace(0, 1, h, device=device) * extent
    columns = torch.linspace(0, 1, w, device=device) * extent
    y = (top_left_B2[:, 0, None] + rows)[:, :, None].expand(b, h, w)
    x = (top_left_B2[:, 1, None] + columns)[:, None, :].expand(b, h, w)
    field = F.grid_sample(
        grid,
        torch.stack((x, y), -1) * 2 - 1,
        mode="bicubic",
        padding_mode="border",
        align_corners=True,
    )[:, 0].clamp(0, 1)
    slope_B = uniform(b, 0.0, 1.0, generator)[:, None, None]  # how much deeper the top is
    return 0.5 * field + 0.5 * slope_B * (1 - y)


def haze(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """Atmospheric scattering x t + A (1 - t) with smooth depth."""
    b, _, h, w = x_BCHW.shape
    depth_BHW = 0.3 + smooth_field(b, h, w, extent, generator)
    beta_B = uniform(b, 0.6, 2.0, generator)
    light = uniform(b, 0.75, 1.0, generator)[:, None, None, None]
    t_B1HW = transmission(depth_BHW, beta_B)[:, None]
    return x_BCHW * t_B1HW + light * (1 - t_B1HW)


def transmission(depth_BHW: Tensor, beta_B: Tensor) -> Tensor:
    """Share of light that passes the haze, exp(-beta depth), in (0, 1]."""
    return torch.exp(-beta_B[:, None, None] * depth_BHW)


def lowlight(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """A dark exposure: gain, then gamma, then a little sensor noise."""
    b = len(x_BCHW)
    gain = uniform(b, 0.3, 0.7, generator)[:, None, None, None]
    gamma = uniform(b, 1.2, 2.2, generator)[:, None, None, None]
    return add_noise((x_BCHW * gain) ** gamma, uniform(b, 0.0, 0.02 * 255, generator), generator)


def compress(x_BCHW: Tensor, generator: Generator, extent: float) -> Tensor:
    """JPEG of quality 10 to 40."""
    return jpeg(x_BCHW.clamp(0, 1), uniform(len(x_BCHW), 10.0, 40.0, generator))


Degradation = Callable[[Tensor, Generator, float], Tensor]

KINDS: dict[str, Degradation] = {
    "noise": noise,
    "blur": blur,
    "rain": rain,
    "haze": haze,
    "lowlight": lowlight,
    "jpeg": compress,
}


def degrade(x_BCHW: Tensor, kind: str, generator: Generator, extent: float = 1.0) -> Tensor:
    """Degrade a batch of clean images, each with its own random strength.

    Args:
        x_BCHW: float RGB in [0, 1].
        kind: a key of :data:`KINDS`, or several joined by ``+``, applied from left to right.
        generator: on the images' device; the same state gives the same result.
        extent: share of a photo's side that the images show (see :func:`smooth_field`).

    Returns:
        Images of the same shape, clipped to [0, 1] and rounded to multiples of 1/255.

    Raises:
        UserError: ``kind`` names no degradation.
    """
    for name in kind.split("+"):
        if name not in KINDS:
            raise UserError(f"no degradation {name!r}; there are {', '.join(KINDS)}")
        x_BCHW = (KINDS[name](x_BCHW, generator, extent).clamp(0, 1) * 255).round() / 255
    return x_BCHW
