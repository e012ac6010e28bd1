"""Baseline JPEG compression as a batched torch function (ITU-T T.81, 4:2:0, Annex K tables).

What a JPEG file loses, without writing one: colour transform, chroma averaging, 8x8 DCT and
quantisation. Entropy coding loses nothing and is left out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Quantisation tables of T.81 Annex K, luminance and chrominance, row by row.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *[99] * 32,
)  # fmt: skip


def jpeg(x_BCHW: Tensor, quality_B: Tensor) -> Tensor:
    """Compress and decompress images.

    Args:
        x_BCHW: float RGB in [0, 1], any size.
        quality_B: IJG quality 1-100 of each image.

    Returns:
        The decompressed images in [0, 1], same shape.
    """
    h, w = x_BCHW.shape[-2:]
    padded = F.pad(x_BCHW * 255, (0, -w % 16, 0, -h % 16), mode="replicate")
    r, g, b = padded.unbind(1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = (b - y) / 1.772, (r - y) / 1.402
    quality_B = quality_B.clamp(1, 100)
    factor_B = torch.where(quality_B < 50, 50 / quality_B, 2 - quality_B / 50)
    y = _quantise(y - 128, _LUMA, factor_B) + 128
    chroma_B2HW = F.avg_pool2d(torch.stack((cb, cr), 1), 2)
    coarse = torch.stack([_quantise(c, _CHROMA, factor_B) for c in chroma_B2HW.unbind(1)], 1)
    cb, cr = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False).unbind(1)
    rgb = torch.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), 1)
    return (rgb[..., :h, :w] / 255).clamp(0, 1)


def _quantise(plane_BHW: Tensor, table: tuple[int, ...], factor_B: Tensor) -> Tensor:
    """8x8 DCT, rounding to multiples of the scaled table, and back."""
    b, h, w = plane_BHW.shape
    dct = _dct_matrix(plane_BHW)
    blocks = plane_BHW.view(b, h // 8, 8, w // 8, 8).transpose(2, 3)
    steps = torch.tensor(table, device=plane_BHW.device, dtype=plane_BHW.dtype).view(8, 8)
    steps_B = (steps * factor_B[:, None, None]).round().clamp(1, 255)[:, None, None]
    coefficients = (dct @ blocks @ dct.mT / steps_B).round() * steps_B
    return (dct.mT @ coefficients @ dct).transpose(2, 3).reshape(b, h, w)


def _dct_matrix(like: Tensor) -> Tensor:
    """Orthonormal DCT-II matrix of size 8."""
    k = torch.arange(8, device=like.device, dtype=like.dtype)
    matrix = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
