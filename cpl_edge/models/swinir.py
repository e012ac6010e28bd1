"""SwinIR, the lightweight one, as a peer in speed (Liang et al., ICCV workshops 2021, section 3).

Shape letters beyond those of `blocks.py`: V windows of all images of a batch, T pixels of a
window, h heads, c channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WindowAttention(nn.Module):
    """Attention among the pixels of a window, with a learned bias for every offset. VTC.

    Args:
        dim: channels.
        heads: attention heads; must divide `dim`.
        window: side of a window in pixels.
    """

    offset_TT: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        pixel_T2 = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        offset_TT2 = pixel_T2[:, None] - pixel_T2[None] + window - 1
        index_TT = offset_TT2[..., 0] * (2 * window - 1) + offset_TT2[..., 1]
        self.register_buffer("offset_TT", index_TT, persistent=False)

    def forward(self, x_VTC: Tensor, mask_VTT: Tensor | None) -> Tensor:
        windows, pixels, dim = x_VTC.shape
        qkv_3VhTc = (
            self.qkv(x_VTC).reshape(windows, pixels, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        q_VhTc, k_VhTc, v_VhTc = qkv_3VhTc.unbind(0)
        score_VhTT = q_VhTc @ k_VhTc.mT * (dim // self.heads) ** -0.5
        score_VhTT = score_VhTT + self.bias[self.offset_TT].permute(2, 0, 1)
        if mask_VTT is not None:
            score_VhTT = score_VhTT + mask_VTT[:, None]
        y_VhTc = score_VhTT.softmax(-1) @ v_VhTc
        y_VTC: Tensor = self.out(y_VhTc.transpose(1, 2).reshape(windows, pixels, dim))
        return y_VTC


class SwinLayer(nn.Module):
    """x + attention(norm(x)) in windows, which every second layer shifts; then x + mlp(norm(x)).

    Args:
        dim: channels.
        heads: attention heads.
        window: side of a window in pixels.
        shift: pixels by which the windows are shifted; 0 for none.
    """

    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x_BHWC: Tensor, mask_VTT: Tensor) -> Tensor:
        y_BHWC = self.norm1(x_BHWC)
        if self.shift:
            y_BHWC = y_BHWC.roll((-self.shift, -self.shift), (1, 2))
        y_VTC = self.attention(cut(y_BHWC, self.window), mask_VTT if self.shift else None)
        y_BHWC = join(y_VTC, x_BHWC.shape, self.window)
        if self.shift:
            y_BHWC = y_BHWC.roll((self.shift, self.shift), (1, 2))
        x_BHWC = x_BHWC + y_BHWC
        y_BHWC = self.mlp(self.norm2(x_BHWC))
        z_BHWC: Tensor = x_BHWC + y_BHWC
        return z_BHWC


class SwinIR(nn.Module):
    """SwinIR at the input's own size; by default with the blocks of its lightweight version.

    Args:
        dim: channels.
        layers: Swin layers of each residual group.
        heads: attention heads.
        window: side of a window in pixels.
    """

    def __init__(
        self,
        dim: int = 60,
        layers: tuple[int, ...] = (6, 6, 6, 6),
        heads: int = 6,
        window: int = 8,
    ) -> None:
        super().__init__()
        self.window = window
        self.first = nn.Conv2d(3, dim, 3, padding=1)
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.groups = nn.ModuleList(
            nn.ModuleList(SwinLayer(dim, heads, window, i % 2 * window // 2) for i in range(count))
            for count in layers
        )
        self.convs = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in layers)
        self.body = nn.Conv2d(dim, dim, 3, padding=1)
        self.last = nn.Conv2d(dim, 3, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Restore images whose sides are multiples of the window."""
        mask_VTT = shift_mask(x_BCHW.shape[2], x_BCHW.shape[3], self.window)
        shallow_BCHW = self.first(x_BCHW)
        y_BHWC = self.norm_in(shallow_BCHW.permute(0, 2, 3, 1))
        for group, conv in zip(self.groups, self.convs, strict=True):
            inner_BHWC = y_BHWC
            assert isinstance(group, nn.ModuleList)
            for layer in group:
                inner_BHWC = layer(inner_BHWC, mask_VTT)
            y_BHWC = y_BHWC + conv(inner_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        deep_BCHW = self.body(self.norm_out(y_BHWC).permute(0, 3, 1, 2)) + shallow_BCHW
        y_BCHW: Tensor = self.last(deep_BCHW) + x_BCHW
        return y_BCHW


def cut(x_BHWC: Tensor, window: int) -> Tensor:
    """Windows of images: (B, H, W, C) -> (B * H/w * W/w, w * w, C)."""
    batch, height, width, dim = x_BHWC.shape
    parts = x_BHWC.reshape(batch, height // window, window, width // window, window, dim)
    return parts.transpose(2, 3).reshape(-1, window * window, dim)


def join(x_VTC: Tensor, shape: torch.Size, window: int) -> Tensor:
    """The inverse of :func:`cut`, for images of a shape."""
    batch, height, width, dim = shape
    parts = x_VTC.reshape(batch, height // window, width // window, window, window, dim)
    return parts.transpose(2, 3).reshape(batch, height, width, dim)


def shift_mask(height: int, width: int, window: int) -> Tensor:
    """-100 between pixels of a shifted window that lie at opposite sides of the image, else 0."""

    def parts(size: int) -> Tensor:
        position = torch.arange(size)
        return (position >= size - window).int() + (position >= size - window // 2).int()

    region_HW = parts(height)[:, None] * 3 + parts(width)[None]
    region_VT = cut(region_HW[None, :, :, None], window)[..., 0]
    return (region_VT[:, :, None] != region_VT[:, None, :]).float() * -100
