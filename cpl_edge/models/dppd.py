"""DPPD's prompts: a degradation prototype is assigned (DPA), its distribution is sampled (PDL).

    q = MLP(mean_HW(x));  k* = argmax_k cos(q, c_k)                     DPA, `Prototypes`
    P_m = mu_k* + sigma_k* * eps_m,  eps_m ~ N(0, 1),  m = 1..M         PDL, `sample`
    y = x + Wo softmax((x Wq) (P Wk)^T / sqrt(d)) (P Wv)                cross attention, `attend`

Source: Wu et al., "Learning Dynamic Prompts for All-in-One Image Restoration" (IEEE TIP 2025),
whose public figures show these three steps, prompts that are vectors, and a reconstruction loss
alone. The rest is inferred here, since no code was published:

- sizes: K = 5 prototypes, M = 4 samples, an embedding as wide as a prompt, one attention head;
- the prototypes are running spherical k-means of the embeddings, and an unused one is moved;
- the router learns through a straight-through softmax(cos / 0.1) around the hard assignment;
- sigma is diagonal and starts at 0.1; outside training the prompt is mu alone, so that an image
  has one restoration (the attention then has one key, and adds one vector to every pixel);
- the fusion block and the 1x1 convolution of the other kinds follow, for the site's new width.

Either part works alone. Without DPA all N distributions are mixed with PromptIR's
softmax(Linear(mean_HW(x))); without PDL there is no sigma and the prompt is always mu.

Shape letters beyond those of `blocks.py` and `prompts.py`: N prototypes (the paper's K), M samples,
E channels of the embedding, P pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.blocks import TransformerBlock, conv1x1
from cpl_edge.models.prompts import Prompt, SiteConfig

SIGMA = 0.1
"""Where every standard deviation starts; the prompts' means start from N(0, 1)."""


class Prototypes(nn.Module):
    """N directions that follow the embeddings assigned to them, without a gradient.

    Args:
        count: N.
        dim: E.
        temperature: of the softmax over cosines.
        momentum: how much of the old direction an update keeps.
    """

    directions_NE: Tensor
    share_N: Tensor

    def __init__(
        self, count: int, dim: int, temperature: float = 0.1, momentum: float = 0.99
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.momentum = momentum
        self.register_buffer("directions_NE", F.normalize(torch.randn(count, dim), dim=1))
        self.register_buffer("share_N", torch.full((count,), 1 / count))

    def forward(self, q_BE: Tensor) -> Tensor:
        """softmax(cos(q, c) / temperature), in float32; its largest is the nearest prototype."""
        with torch.autocast(q_BE.device.type, enabled=False):
            # A copy, because the update below writes to what the gradient still needs.
            cosine_BN = F.normalize(q_BE.float(), dim=1) @ self.directions_NE.clone().mT
            return (cosine_BN / self.temperature).softmax(1)

    @torch.no_grad()
    def update(self, q_BE: Tensor) -> None:
        """One step of running k-means: each prototype towards the mean of its embeddings.

        A prototype whose running share of the assignments fell below a tenth of an even one moves
        to the embedding that all prototypes are farthest from, as k-means does with an empty
        cluster. Otherwise one prototype could take everything at the start and keep it. In float32
        always: a step of a running mean is smaller than what bfloat16 tells apart.
        """
        with torch.autocast(q_BE.device.type, enabled=False):
            self._update(F.normalize(q_BE.float(), dim=1))

    def _update(self, q_BE: Tensor) -> None:
        cosine_BN = q_BE @ self.directions_NE.mT
        count = cosine_BN.shape[1]
        chosen_BN = F.one_hot(cosine_BN.argmax(1), count).float()
        mean_NE = F.normalize(chosen_BN.mT @ q_BE, dim=1)  # 0, no pull, where none was assigned
        moved_NE = torch.lerp(mean_NE, self.directions_NE, self.momentum)
        self.directions_NE.copy_(F.normalize(moved_NE, dim=1))
        self.share_N.copy_(torch.lerp(chosen_BN.mean(0), self.share_N, self.momentum))

        # One prototype a step, and neither a branch nor an index, for which the host would wait.
        first_N = torch.arange(count, device=q_BE.device) == self.share_N.argmin()
        idle_N = first_N & (self.share_N * count < 0.1)
        lonely_1E = q_BE.index_select(0, cosine_BN.amax(1).argmin().view(1))
        self.directions_NE.copy_(torch.where(idle_N[:, None], lonely_1E, self.directions_NE))
        self.share_N.masked_fill_(idle_N, 1 / count)


class PromptDistribution(Prompt):
    """The prompt site of DPPD; see the module's text for the equations.

    Prompts are sampled while the module is in training mode, from torch's global generator, like
    dropout. The prototypes move when `probabilities` runs in training mode with gradients on.
    """

    def __init__(self, config: SiteConfig) -> None:
        super().__init__()
        dim, channels = config.dim_in, config.channels
        self.samples = config.samples
        self.prototypes: Prototypes | None = None
        if config.dpa:
            self.router: nn.Module = nn.Sequential(
                nn.Linear(dim, channels), nn.GELU(), nn.Linear(channels, channels)
            )
            self.prototypes = Prototypes(config.prompts, channels)
        else:
            self.router = nn.Linear(dim, config.prompts)

        self.mu_NC = nn.Parameter(torch.randn(config.prompts, channels))
        self.log_sigma_NC: nn.Parameter | None = None
        if config.pdl:
            self.log_sigma_NC = nn.Parameter(torch.full_like(self.mu_NC, math.log(SIGMA)))

        self.query = conv1x1(dim, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.out = conv1x1(channels, dim)
        self.fuse = TransformerBlock(dim, config.heads, config.expansion)
        self.reduce = conv1x1(dim, config.dim_out)

    def probabilities(self, x_BCHW: Tensor) -> Tensor:
        q: Tensor = self.router(x_BCHW.mean((2, 3)))
        if self.prototypes is None:
            return q.softmax(1)
        p_BN: Tensor = self.prototypes(q)
        if self.training and torch.is_grad_enabled():
            self.prototypes.update(q)
        return p_BN

    def select(self, p_BN: Tensor) -> Tensor:
        if self.prototypes is None:
            return p_BN
        hard_BN = F.one_hot(p_BN.argmax(1), p_BN.shape[1]).to(p_BN.dtype)
        return hard_BN + (p_BN - p_BN.detach())  # exactly 0 or 1, with the gradient of p

    def sample(self, w_BN: Tensor) -> Tensor:
        """The prompts P of an image: (B, M, C) while training, else (B, 1, C), the mean."""
        mu_B1C = (w_BN @ self.mu_NC).unsqueeze(1)
        if self.log_sigma_NC is None or not self.training:
            return mu_B1C
        sigma_B1C = (w_BN @ self.log_sigma_NC.exp()).unsqueeze(1)
        return mu_B1C + sigma_B1C * torch.randn_like(sigma_B1C.expand(-1, self.samples, -1))

    def attend(self, x_BCHW: Tensor, prompts_BMC: Tensor) -> Tensor:
        """Add to each pixel of x what it reads from the prompts."""
        q_BCP = self.query(x_BCHW).flatten(2)
        k_BMC, v_BMC = self.key(prompts_BMC), self.value(prompts_BMC)
        attention_BMP = (k_BMC @ q_BCP / math.sqrt(q_BCP.shape[1])).softmax(1)
        read_BCHW = (v_BMC.mT @ attention_BMP).unflatten(2, x_BCHW.shape[2:])
        y_BCHW: Tensor = x_BCHW + self.out(read_BCHW)
        return y_BCHW

    def forward(self, x_BCHW: Tensor, w_BN: Tensor | None = None) -> Tensor:
        w_BN = self.route(x_BCHW) if w_BN is None else w_BN
        y_BCHW: Tensor = self.reduce(self.fuse(self.attend(x_BCHW, self.sample(w_BN))))
        return y_BCHW
