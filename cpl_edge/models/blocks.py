"""Restormer's blocks: channel attention, gated feed-forward and the samplers between levels.

Shape letters here and in `prompts.py` and `promptir.py`: B batch, C channels, H and W pixels,
h attention heads, c channels of one head, P pixels (H * W). No convolution has a bias.

Sources: Zamir et al., "Restormer" (CVPR 2022), sections 3.1 (MDTA) and 3.2 (GDFN); Potlapalli et
al., "PromptIR" (NeurIPS 2023) builds on the same blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv1x1(dim_in: int, dim_out: int) -> nn.Conv2d:
    """Mixes channels: (B, dim_in, H, W) -> (B, dim_out, H, W)."""
    return nn.Conv2d(dim_in, dim_out, 1, bias=False)


def conv3x3(dim_in: int, dim_out: int, groups: int = 1) -> nn.Conv2d:
    """Keeps the size with a border of zeros: (B, dim_in, H, W) -> (B, dim_out, H, W)."""
    return nn.Conv2d(dim_in, dim_out, 3, padding=1, groups=groups, bias=False)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the channels of every pixel, with weight and bias, eps 1e-5. BCHW."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # A view, and no copy either where the tensor is in channels_last memory format.
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention: channels attend to channels.

    The attention map is c x c for each head, so the cost is linear in the number of pixels.
    Restormer, equation 1.

    Args:
        dim: channels.
        heads: attention heads; must divide `dim`.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Sequential(conv1x1(dim, 3 * dim), conv3x3(3 * dim, 3 * dim, groups=3 * dim))
        self.out = conv1x1(dim, dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        qkv_B3hcP = self.qkv(x_BCHW).flatten(2).unflatten(1, (3, self.heads, -1))
        q_BhcP, k_BhcP, v_BhcP = qkv_B3hcP.unbind(1)
        # Unit length over the pixels: a cosine between two channels, whatever the image size.
        q_BhcP, k_BhcP = F.normalize(q_BhcP, dim=-1), F.normalize(k_BhcP, dim=-1)
        attention_Bhcc = (q_BhcP @ k_BhcP.mT * self.temperature).softmax(-1)
        y_BCHW: Tensor = self.out((attention_Bhcc @ v_BhcP).reshape(x_BCHW.shape))
        return y_BCHW


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network: gelu(a) * b of two 3x3 depthwise halves. BCHW.

    Restormer, equation 2.

    Args:
        dim: channels.
        expansion: hidden channels per channel, rounded down.
    """

    def __init__(self, dim: int, expansion: float) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.expand = nn.Sequential(
            conv1x1(dim, 2 * hidden), conv3x3(2 * hidden, 2 * hidden, groups=2 * hidden)
        )
        self.out = conv1x1(hidden, dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        a_BCHW, b_BCHW = self.expand(x_BCHW).chunk(2, dim=1)
        y_BCHW: Tensor = self.out(F.gelu(a_BCHW) * b_BCHW)
        return y_BCHW


class TransformerBlock(nn.Module):
    """x + MDTA(norm(x)), then x + GDFN(norm(x)). BCHW."""

    def __init__(self, dim: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dim)
        self.attention = MDTA(dim, heads)
        self.feedforward_norm = LayerNorm(dim)
        self.feedforward = GDFN(dim, expansion)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW + self.attention(self.attention_norm(x_BCHW))
        x_BCHW = x_BCHW + self.feedforward(self.feedforward_norm(x_BCHW))
        return x_BCHW


class OverlapPatchEmbed(nn.Conv2d):
    """RGB to features by one 3x3 convolution: (B, 3, H, W) -> (B, dim, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__(3, dim, 3, padding=1, bias=False)


class Down(nn.Sequential):
    """Half the size, twice the channels: (B, C, H, W) -> (B, 2C, H/2, W/2)."""

    def __init__(self, dim: int) -> None:
        super().__init__(conv3x3(dim, dim // 2), nn.PixelUnshuffle(2))


class Up(nn.Sequential):
    """Twice the size, half the channels: (B, C, H, W) -> (B, C/2, 2H, 2W)."""

    def __init__(self, dim: int) -> None:
        super().__init__(conv3x3(dim, 2 * dim), nn.PixelShuffle(2))
