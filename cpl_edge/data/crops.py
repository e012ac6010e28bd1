"""Random windows of images that lie one after the other in a flat tensor.

Gathering by index instead of slicing image by image makes a batch one operation on any device;
flips and transposition are part of the index. The order of the random draws is what resumed
trainings rely on.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def draw(limits_B: Tensor, generator: Generator) -> Tensor:
    """Whole numbers, each at least 0 and below its limit, on the generator's device."""
    fractions_B = torch.rand(
        len(limits_B), generator=generator, device=limits_B.device, dtype=torch.float64
    )
    return (fractions_B * limits_B).long()


def window_index(sizes_B2: Tensor, size: int, generator: Generator) -> Tensor:
    """Where the pixels of random windows lie, each randomly flipped and transposed.

    Args:
        sizes_B2: rows and columns of each image; none below ``size``.
        size: side of a window in pixels.
        generator: on the sizes' device.

    Returns:
        ``index_BHW``, places within each image.
    """
    h_B, w_B = sizes_B2.unbind(1)
    device = sizes_B2.device
    top_B, left_B = draw(h_B - size + 1, generator), draw(w_B - size + 1, generator)
    flip = torch.randint(2, (3, len(sizes_B2), 1, 1), generator=generator, device=device)
    steps = torch.arange(size, device=device)
    i, j = steps[None, :, None], steps[None, None, :]
    i, j = torch.where(flip[0] > 0, size - 1 - i, i), torch.where(flip[1] > 0, size - 1 - j, j)
    rows, columns = torch.where(flip[2] > 0, j, i), torch.where(flip[2] > 0, i, j)
    rows, columns = rows + top_B[:, None, None], columns + left_B[:, None, None]
    return rows * w_B[:, None, None] + columns
