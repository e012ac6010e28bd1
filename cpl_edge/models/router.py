"""The student's router: what it pools tells noise from rain from blur.

Legend: B batch, C channels, H and W pixels, L router outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.shape import Statistics


class StatisticsRouter(nn.Module):
    """Two small convolutions whose first and second moments, pooled over the photo, decide.

    A mean alone cannot tell noise from rain from blur; mean magnitude and mean square can. All
    statistics are means and no convolution pads, so their expectation does not depend on the size
    of the crop. A router trained with zero padding relied on it: without, it lost haze.

    Args:
        widths: channels of both convolutions.
        hidden: units of the hidden layer.
        outputs: L.
        statistics: all, or only the means, to compare with.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        hidden: int,
        outputs: int,
        statistics: Statistics = "moments",
    ) -> None:
        super().__init__()
        self.statistics = statistics
        self.conv1 = nn.Conv2d(12, widths[0], 3, stride=2)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3, stride=2)
        pooled = sum(widths) if statistics == "mean" else 2 * widths[0] + 3 * widths[1]
        self.hidden = nn.Linear(pooled, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        a = self.conv1(F.pixel_unshuffle(x_BCHW, 2))
        b = self.conv2(F.relu(a)).float()
        a = a.float()
        maps = (a, b) if self.statistics == "mean" else (a, a.abs(), b, b.abs(), b * b)
        stats_BC11 = torch.cat([m.mean((2, 3), keepdim=True) for m in maps], 1)
        out: Tensor = self.head(F.relu(self.hidden(stats_BC11.flatten(1))))
        return out
