"""Prompts: learned features, chosen by a router, that tell the decoder how to restore.

One interface for every kind. A site turns features into features, `y = prompt(x, w)`; `w_BN` says
how much of each of its N prompts is used. The router's work has two steps, so that a training loss
can see both: `probabilities(x) -> p_BN` (dense, learned) and `select(p_BN) -> w_BN` (what is used).

    kind   class               select
    spm    SparsePrompt        the k largest, all else 0, not renormalised (CPL, section SPM)
    soft   SoftPrompt          all of them (PromptIR, section 3.2)
    none   NoPrompt            there is no prompt: the same fusion block on the feature alone
    dppd   PromptDistribution  the nearest prototype's (`dppd.py`)

Shape letters beyond those of `blocks.py`: N prompts of a site, S side of a prompt in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.blocks import TransformerBlock, conv1x1, conv3x3

NegativeWeight = Literal["router", "selected", "one"]


@dataclass(frozen=True)
class SiteConfig:
    """One prompt site.

    Attributes:
        dim_in: channels of the feature that arrives; the router sees these.
        dim_out: channels after the fusion.
        channels: channels of a prompt.
        size: height and width of a stored prompt, resized to the feature's at run time.
        heads: attention heads of the fusion block.
        expansion: hidden channels per channel in the fusion block's feed-forward.
        prompts: N, how many prompts the site stores.
        top_k: k, how many of them a sparse prompt uses for one image.
        dpa: DPPD's prototype assignment; see `dppd.py` for what is there without it.
        pdl: DPPD's prompt distribution; see `dppd.py` for what is there without it.
        samples: M, prompts that DPPD draws for an image while it trains.
    """

    dim_in: int
    dim_out: int
    channels: int
    size: int
    heads: int = 4
    expansion: float = 2.66
    prompts: int = 5
    top_k: int = 1
    dpa: bool = True
    pdl: bool = True
    samples: int = 4


class Prompt(nn.Module):
    """The interface of a prompt site: a router, and a change of the feature it selects."""

    def probabilities(self, x_BCHW: Tensor) -> Tensor:
        """The router's dense output p_BN: non-negative, each row sums to 1."""
        raise NotImplementedError

    def select(self, p_BN: Tensor) -> Tensor:
        """The weights w_BN that the site uses, given the router's p_BN."""
        raise NotImplementedError

    def route(self, x_BCHW: Tensor) -> Tensor:
        """The weights w_BN that `forward` uses when none are forced."""
        return self.select(self.probabilities(x_BCHW))

    def forward(self, x_BCHW: Tensor, w_BN: Tensor | None = None) -> Tensor:
        """Prompt a feature.

        Args:
            x_BCHW: feature with `dim_in` channels.
            w_BN: forced weights of the prompts; None asks the router. Forced weights are used as
                they are: no top-k, no renormalisation.

        Returns:
            Feature of the same height and width with `dim_out` channels.
        """
        raise NotImplementedError


class SoftPrompt(Prompt):
    """PromptIR's prompt: a softmax-weighted sum of all prompts (PromptIR, equations 1 to 4).

        w = softmax(Linear(mean_HW(x)));  prompt = conv3x3(bilinear(sum_i w_i * Theta_i))
        y = conv1x1(TransformerBlock(concat[x, prompt]))

    The prompts start uniform in [0, 1).
    """

    def __init__(self, config: SiteConfig) -> None:
        super().__init__()
        width = config.dim_in + config.channels
        shape = (config.prompts, config.channels, config.size, config.size)
        self.theta_NCSS = nn.Parameter(torch.rand(shape))
        self.router = nn.Linear(config.dim_in, config.prompts)
        self.conv = conv3x3(config.channels, config.channels)
        self.fuse = TransformerBlock(width, config.heads, config.expansion)
        self.reduce = conv1x1(width, config.dim_out)

    def probabilities(self, x_BCHW: Tensor) -> Tensor:
        logits_BN: Tensor = self.router(x_BCHW.mean((2, 3)))
        return logits_BN.softmax(1)

    def select(self, p_BN: Tensor) -> Tensor:
        return p_BN

    def forward(self, x_BCHW: Tensor, w_BN: Tensor | None = None) -> Tensor:
        w_BN = self.route(x_BCHW) if w_BN is None else w_BN
        prompt_BCSS = (w_BN @ self.theta_NCSS.flatten(1)).view(-1, *self.theta_NCSS.shape[1:])
        prompt_BCHW = self.conv(
            F.interpolate(prompt_BCSS, x_BCHW.shape[2:], mode="bilinear", align_corners=False)
        )
        y_BCHW: Tensor = self.reduce(self.fuse(torch.cat([x_BCHW, prompt_BCHW], 1)))
        return y_BCHW


class SparsePrompt(SoftPrompt):
    """CPL's sparse prompt module (SPM): only the k prompts that the router likes best.

    The k weights keep their softmax values, so the router learns through them, and no gradient
    reaches a prompt that was not selected. Of equal weights the one with the lower index wins.

    Raises:
        ValueError: fewer than 2k prompts, which would leave too few for a negative.
    """

    def __init__(self, config: SiteConfig) -> None:
        super().__init__(config)
        if not 1 <= config.top_k <= config.prompts // 2:
            raise ValueError(
                f"top_k {config.top_k} of {config.prompts} prompts: choose 1 <= top_k and "
                "prompts >= 2 * top_k, so that every negative has unselected prompts"
            )
        self.top_k = config.top_k

    def select(self, p_BN: Tensor) -> Tensor:
        right_Bk, index_Bk = self._selected(p_BN)
        return torch.zeros_like(p_BN).scatter(1, index_Bk, right_Bk)

    @torch.no_grad()
    def negative(
        self, p_BN: Tensor, generator: torch.Generator, weight: NegativeWeight = "router"
    ) -> Tensor:
        """Draw wrong prompts for CPL's contrastive regularisation (CPR).

        For every sample on its own, k of the N - k prompts that `select` leaves out, each equally
        likely. For several negatives of a sample, repeat its row.

        Args:
            p_BN: what `probabilities` gave for these samples.
            generator: source of the draws, on any device.
            weight: what the wrong prompts weigh. "router": their own p, as published, which a
                confident router makes almost 0: "no prompt" rather than "the wrong prompt".
                "selected": what the right ones weighed (inferred here, not published).
                "one": 1 each (inferred here, not published).

        Returns:
            w_BN for `forward`, detached.
        """
        right_Bk, index_Bk = self._selected(p_BN)
        draw_BN = torch.rand(p_BN.shape, generator=generator, device=generator.device)
        draw_BN = draw_BN.to(p_BN.device).scatter(1, index_Bk, torch.inf)
        wrong_Bk = draw_BN.argsort(1)[:, : self.top_k]
        weight_Bk = {
            "router": p_BN.gather(1, wrong_Bk),
            "selected": right_Bk,
            "one": torch.ones_like(right_Bk),
        }[weight]
        return torch.zeros_like(p_BN).scatter(1, wrong_Bk, weight_Bk)

    def _selected(self, p_BN: Tensor) -> tuple[Tensor, Tensor]:
        # A stable sort and not torch.topk, which leaves open which of equal values it returns.
        value_BN, index_BN = p_BN.sort(dim=1, descending=True, stable=True)
        return value_BN[:, : self.top_k], index_BN[:, : self.top_k]


class NoPrompt(Prompt):
    """The ablation without a prompt: y = conv1x1(TransformerBlock(x)), and N is 0.

    The fusion block stays, so that the comparison is about the prompt and not about depth
    (inferred here: the authors do not say what their row without prompts keeps).
    """

    def __init__(self, config: SiteConfig) -> None:
        super().__init__()
        self.fuse = TransformerBlock(config.dim_in, config.heads, config.expansion)
        self.reduce = conv1x1(config.dim_in, config.dim_out)

    def probabilities(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.new_zeros(x_BCHW.shape[0], 0)

    def select(self, p_BN: Tensor) -> Tensor:
        return p_BN

    def forward(self, x_BCHW: Tensor, w_BN: Tensor | None = None) -> Tensor:
        y_BCHW: Tensor = self.reduce(self.fuse(x_BCHW))
        return y_BCHW
