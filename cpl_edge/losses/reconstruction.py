"""Losses between a restoration and its target, in float32 whatever the network ran in.

Every loss takes y_BCHW, restored RGB (unclipped), and target_BCHW, RGB in [0, 1], of the same
shape, and returns a scalar. A recipe names one of `RECONSTRUCTION`, and may add one of `FREQUENCY`
with a weight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def l1(y_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean absolute difference: CPL's and PromptIR's loss."""
    return (y_BCHW.float() - target_BCHW.float()).abs().mean()


def charbonnier(y_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + 1e-6): L1 that is smooth at 0 (Lai et al., LapSRN, CVPR 2017)."""
    return ((y_BCHW.float() - target_BCHW.float()).square() + 1e-6).sqrt().mean()


def psnr(y_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Minus the PSNR in dB, mean over the images (Chen et al., HINet, CVPRW 2021).

    An image counts by its ratio and not by its error, so good ones keep their share. 1e-8 in the
    mean square stops at 80 dB.
    """
    mse_B = (y_BCHW.float() - target_BCHW.float()).square().mean((1, 2, 3))
    return 10 * (mse_B + 1e-8).log10().mean()


def frequency_complex(y_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean absolute difference of the spectra's real and imaginary parts.

    The multi-scale frequency term of Cho et al., MIMO-UNet (ICCV 2021), at one scale. The transform
    is orthonormal, so that the value does not grow with the image.
    """
    difference_BCHF = _spectrum(y_BCHW.float() - target_BCHW.float())
    return (difference_BCHF.real.abs().mean() + difference_BCHF.imag.abs().mean()) / 2


def frequency_amplitude(y_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Mean absolute difference of the spectra's amplitudes: how much detail, not where it lies."""
    return (_spectrum(y_BCHW).abs() - _spectrum(target_BCHW).abs()).abs().mean()


def _spectrum(z_BCHW: Tensor) -> Tensor:
    z_BCHF: Tensor = torch.fft.rfft2(z_BCHW.float(), norm="ortho")
    return z_BCHF


RECONSTRUCTION: dict[str, Loss] = {"l1": l1, "charbonnier": charbonnier, "psnr": psnr}
FREQUENCY: dict[str, Loss] = {"complex": frequency_complex, "amplitude": frequency_amplitude}
