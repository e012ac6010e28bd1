"""Other networks that the student is compared with in speed: own definitions, random weights.

    name       network                                        parameters   GMAC at 256x256
    promptir   PromptIR (Potlapalli et al., NeurIPS 2023)          35.4 M             173
    cpl        CPL's teacher: PromptIR with sparse prompts         35.4 M             173
    restormer  Restormer (Zamir et al., CVPR 2022)                 26.1 M             155
    nafnet32   NAFNet, width 32 (Chen et al., ECCV 2022)           29.2 M              16
    dncnn      DnCNN, colour, blind (Zhang et al., TIP 2017)       0.67 M              44
    ffdnet     FFDNet, colour (Zhang et al., TIP 2018)             0.85 M              14
    swinir     SwinIR, lightweight (Liang et al., ICCVW 2021)      0.91 M              68

PromptIR lacks its authors' six unused convolutions here (35.6 M with them). Each takes x_BCHW, RGB
in [0, 1], height and width multiples of 16, and gives y_BCHW unclipped. Only speed, memory and
size are compared, which random weights do not change; quality is compared with published figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.blocks import Down, LayerNorm, OverlapPatchEmbed, TransformerBlock, Up
from cpl_edge.models.promptir import PromptIR, create_promptir
from cpl_edge.models.prompts import SparsePrompt
from cpl_edge.models.swinir import SwinIR


class Restormer(nn.Module):
    """Restormer: the four-level U-Net of transformer blocks, no prompts (section 3, figure 2).

    Args:
        dim: channels of level 1; levels 2, 3, 4 have 2, 4, 8 times as many.
        blocks: of each level, the same in encoder and decoder.
        refinement: blocks after the decoder.
        heads: of each level.
        expansion: hidden channels per channel in the feed-forward.
    """

    def __init__(
        self,
        dim: int = 48,
        blocks: tuple[int, int, int, int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: tuple[int, int, int, int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ) -> None:
        super().__init__()

        def level(index: int, width: int, count: int) -> nn.Sequential:
            made = (TransformerBlock(width, heads[index], expansion) for _ in range(count))
            return nn.Sequential(*made)

        widths = [dim * scale for scale in (1, 2, 4, 8)]
        self.embed = OverlapPatchEmbed(dim)
        self.encoder = nn.ModuleList(level(i, widths[i], blocks[i]) for i in range(4))
        self.down = nn.ModuleList(Down(widths[i]) for i in range(3))
        self.up = nn.ModuleList(Up(widths[i + 1]) for i in range(3))
        # Level 1 concatenates and does not reduce: it runs at 2 * dim.
        self.reduce = nn.ModuleList(
            nn.Conv2d(2 * widths[i], widths[i], 1, bias=False) if i else nn.Identity()
            for i in range(3)
        )
        self.decoder = nn.ModuleList(level(i, max(widths[i], 2 * dim), blocks[i]) for i in range(3))
        self.refinement = level(0, 2 * dim, refinement)
        self.head = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y, skips = self.embed(x_BCHW), []
        for i in range(4):
            y = self.encoder[i](y)
            if i < 3:
                skips.append(y)
                y = self.down[i](y)
        for i in (2, 1, 0):
            y = self.decoder[i](self.reduce[i](torch.cat([self.up[i](y), skips[i]], 1)))
        y_BCHW: Tensor = self.head(self.refinement(y)) + x_BCHW
        return y_BCHW


class NAFBlock(nn.Module):
    """NAFNet's block (section 3.3, figure 3c): simple gates, channel attention, no activation.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(dim), LayerNorm(dim)
        self.expand = nn.Sequential(
            nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(2 * dim, 2 * dim, 3, padding=1, groups=2 * dim)
        )
        self.attention = nn.Conv2d(dim, dim, 1)
        self.mix = nn.Conv2d(dim, dim, 1)
        self.feed = nn.Conv2d(dim, 2 * dim, 1)
        self.out = nn.Conv2d(dim, dim, 1)
        # Zero in training; random here, so that no runtime can drop the branches.
        self.beta = nn.Parameter(torch.randn(1, dim, 1, 1) / 10)
        self.gamma = nn.Parameter(torch.randn(1, dim, 1, 1) / 10)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = _gate(self.expand(self.norm1(x_BCHW)))
        y = y * self.attention(y.mean((2, 3), keepdim=True))
        x_BCHW = x_BCHW + self.mix(y) * self.beta
        y_BCHW: Tensor = self.out(_gate(self.feed(self.norm2(x_BCHW)))) * self.gamma
        return x_BCHW + y_BCHW


def _gate(x_BCHW: Tensor) -> Tensor:
    a_BCHW, b_BCHW = x_BCHW.chunk(2, dim=1)
    return a_BCHW * b_BCHW


class NAFNet(nn.Module):
    """NAFNet, by default as its authors denoise SIDD with it at width 32.

    Args:
        width: channels of level 1, doubled at each further one.
        encoder: blocks of each encoder level.
        middle: blocks at the smallest size.
        decoder: blocks of each decoder level, smallest size first.
    """

    def __init__(
        self,
        width: int = 32,
        encoder: tuple[int, ...] = (2, 2, 4, 8),
        middle: int = 12,
        decoder: tuple[int, ...] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()

        def level(dim: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(NAFBlock(dim) for _ in range(count)))

        depth = len(encoder)
        widths = [width * 2**i for i in range(depth + 1)]
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.encoder = nn.ModuleList(level(widths[i], n) for i, n in enumerate(encoder))
        self.down = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 2, stride=2) for i in range(depth)
        )
        self.middle = level(widths[depth], middle)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i + 1], 2 * widths[i + 1], 1, bias=False), nn.PixelShuffle(2)
            )
            for i in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(level(widths[depth - 1 - i], n) for i, n in enumerate(decoder))
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y, skips = self.intro(x_BCHW), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            y = blocks(y)
            skips.append(y)
            y = down(y)
        y = self.middle(y)
        for blocks, up in zip(self.decoder, self.up, strict=True):
            y = blocks(up(y) + skips.pop())
        y_BCHW: Tensor = self.ending(y) + x_BCHW
        return y_BCHW


class DnCNN(nn.Module):
    """DnCNN: convolutions and ReLU predict the noise; its batch norms are folded, as at run time.

    Args:
        layers: convolutions; 20 for the blind colour model (CDnCNN-B).
        width: channels.
    """

    def __init__(self, layers: int = 20, width: int = 64) -> None:
        super().__init__()
        self.body = _plain(layers, 3, width, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        noise_BCHW: Tensor = self.body(x_BCHW)
        return x_BCHW - noise_BCHW


class FFDNet(nn.Module):
    """FFDNet: half-size sub-images and a map of the noise level; the level is fixed here.

    Args:
        layers: convolutions; 12 for colour.
        width: channels; 96 for colour.
        sigma: level of the noise, standard deviation in [0, 1].
    """

    def __init__(self, layers: int = 12, width: int = 96, sigma: float = 25 / 255) -> None:
        super().__init__()
        self.body = _plain(layers, 13, width, 12)
        self.sigma = sigma

    def forward(self, x_BCHW: Tensor) -> Tensor:
        small = F.pixel_unshuffle(x_BCHW, 2)
        level = torch.full_like(small[:, :1], self.sigma)
        y_BCHW: Tensor = F.pixel_shuffle(self.body(torch.cat([small, level], 1)), 2)
        return y_BCHW


def _plain(layers: int, dim_in: int, width: int, dim_out: int) -> nn.Sequential:
    """3x3 convolutions with ReLU between them."""
    widths = [dim_in, *[width] * (layers - 1), dim_out]
    made: list[nn.Module] = []
    for first, second in itertools.pairwise(widths):
        made += [nn.Conv2d(first, second, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*made[:-1])


class TopPrompt(SparsePrompt):
    """The same selection, ties aside, by a top-k: ONNX has one, and no stable sort."""

    def select(self, p_BN: Tensor) -> Tensor:
        value_Bk, index_Bk = p_BN.topk(self.top_k, dim=1)
        return torch.zeros_like(p_BN).scatter(1, index_Bk, value_Bk)


def _teacher() -> PromptIR:
    network = create_promptir("cpl")
    for site in network.sites:
        site.__class__ = TopPrompt
    return network


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes:
        title: for people.
        paper: where it is described.
        create: makes it, with random weights.
    """

    title: str
    paper: str
    create: Callable[[], nn.Module]


PEERS: dict[str, Peer] = {
    "promptir": Peer("PromptIR", "arXiv 2306.13090", lambda: create_promptir("promptir")),
    "cpl": Peer("CPL teacher", "arXiv 2504.09973", _teacher),
    "restormer": Peer("Restormer", "arXiv 2111.09881", Restormer),
    "nafnet32": Peer("NAFNet width 32", "arXiv 2204.04676", NAFNet),
    "dncnn": Peer("DnCNN colour", "arXiv 1608.03981", DnCNN),
    "ffdnet": Peer("FFDNet colour", "arXiv 1710.04026", FFDNet),
    "swinir": Peer("SwinIR light", "arXiv 2108.10257", SwinIR),
}


def create_peer(name: str, seed: int = 0) -> nn.Module:
    """A peer with random weights, in evaluation mode; the global generator is left as it was.

    Args:
        name: a key of :data:`PEERS`.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PEERS[name].create().eval()
