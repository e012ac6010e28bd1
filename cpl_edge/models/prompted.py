"""The student's residual blocks: with a prompt, with one that is folded in, and without.

Legend: B batch, C channels, H and W pixels, P = H * W, N prompts, R rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """x + conv(relu(conv(x))), whatever the prompt weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.project.weight)  # every block starts as the identity
        nn.init.zeros_(bias_of(self.project))

    def forward(self, x_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        out: Tensor = x_BCHW + self.project(F.relu(self.expand(x_BCHW)))
        return out


class PromptedBlock(nn.Module):
    """x + conv(relu(conv(x) * (1 + scale) + shift)); the prompt weights choose both.

    With a rank R they also choose a CxC matrix of that rank, u v, which is added to the diagonal
    one of the scales: h * (1 + scale) + u v h + shift for h = conv(x).
    """

    def __init__(self, channels: int, prompts: int, rank: int = 0) -> None:
        super().__init__()
        self.rank = rank
        self.expand = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale_NC = nn.Parameter(torch.randn(prompts, channels) * 0.05)
        self.shift_NC = nn.Parameter(torch.zeros(prompts, channels))
        if rank:
            self.u_NCR = nn.Parameter(torch.zeros(prompts, channels, rank))
            self.v_NRC = nn.Parameter(torch.randn(prompts, rank, channels) * channels**-0.5)
        nn.init.zeros_(self.project.weight)  # every block starts as the identity
        nn.init.zeros_(bias_of(self.project))

    def forward(self, x_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        w_BN = w_BN.to(self.scale_NC.dtype)
        scale_BC11 = (1 + w_BN @ self.scale_NC)[:, :, None, None]
        shift_BC11 = (w_BN @ self.shift_NC)[:, :, None, None]
        h_BCHW = self.expand(x_BCHW)
        mixed_BCHW = self._mix(h_BCHW, w_BN) if self.rank else None
        h_BCHW = h_BCHW * scale_BC11.to(h_BCHW.dtype) + shift_BC11.to(h_BCHW.dtype)
        if mixed_BCHW is not None:
            h_BCHW = h_BCHW + mixed_BCHW
        out: Tensor = x_BCHW + self.project(F.relu(h_BCHW))
        return out

    @property
    def prompts(self) -> list[nn.Parameter]:
        """Everything that is selected, prompts first: ``scale_NC`` and so on."""
        return [self.scale_NC, self.shift_NC, *([self.u_NCR, self.v_NRC] if self.rank else [])]

    def matrices(self, w_BN: Tensor) -> tuple[Tensor, Tensor]:
        """The selected ``u_BCR`` and ``v_BRC``."""
        n, c, r = self.u_NCR.shape
        u_BCR = (w_BN @ self.u_NCR.view(n, c * r)).view(-1, c, r)
        v_BRC = (w_BN @ self.v_NRC.view(n, r * c)).view(-1, r, c)
        return u_BCR, v_BRC

    def _mix(self, h_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        u_BCR, v_BRC = self.matrices(w_BN)
        mixed_BCP = u_BCR @ (v_BRC @ h_BCHW.flatten(2))
        return mixed_BCP.to(h_BCHW.dtype).view(h_BCHW.shape)


class PinnedBlock(nn.Module):
    """A :class:`PromptedBlock` whose prompt is folded into its first convolution."""

    def __init__(self, block: PromptedBlock, w_N: Tensor) -> None:
        super().__init__()
        scale_C = 1 + w_N @ block.scale_NC
        self.expand = nn.Conv2d(block.expand.in_channels, block.expand.out_channels, 3, padding=1)
        self.project = block.project
        with torch.no_grad():
            self.expand.weight.copy_(block.expand.weight * scale_C[:, None, None, None])
            bias_of(self.expand).copy_(bias_of(block.expand) * scale_C + w_N @ block.shift_NC)
            if block.rank:
                u_BCR, v_BRC = block.matrices(w_N[None])
                mix_CC = (u_BCR @ v_BRC)[0]
                self.expand.weight.add_(
                    (mix_CC @ block.expand.weight.flatten(1)).view_as(self.expand.weight)
                )
                bias_of(self.expand).add_(mix_CC @ bias_of(block.expand))

    def forward(self, x_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        out: Tensor = x_BCHW + self.project(F.relu(self.expand(x_BCHW)))
        return out


def bias_of(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.bias
