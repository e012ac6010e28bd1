"""The PromptIR backbone: a four-level U-Net of Restormer blocks with three prompt sites.

    level  size  channels  encoder     decoder
    1      H     dim       encoder1    decoder1 and refinement, at 2 * dim   -> head + input
    2      H/2   2 * dim   encoder2    decoder2 -> site 1 -> up
    3      H/4   4 * dim   encoder3    decoder3 -> site 2 -> up
    4      H/8   8 * dim   latent               -> site 3 -> up

The prompts of `prompts.py` and `dppd.py` fill the sites: soft ones make PromptIR (Potlapalli et
al., NeurIPS 2023), sparse ones CPL. What has one entry per site is ordered 3, 2, 1, as they run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, overload

from torch import Tensor, cat, nn

from cpl_edge.errors import UserError
from cpl_edge.models.blocks import (
    Down,
    OverlapPatchEmbed,
    TransformerBlock,
    Up,
    conv1x1,
    conv3x3,
)
from cpl_edge.models.dppd import PromptDistribution
from cpl_edge.models.prompts import NoPrompt, Prompt, SiteConfig, SoftPrompt, SparsePrompt

PROMPTS: dict[str, type[SoftPrompt | NoPrompt | PromptDistribution]] = {
    "spm": SparsePrompt,
    "soft": SoftPrompt,
    "none": NoPrompt,
    "dppd": PromptDistribution,
}


@dataclass(frozen=True)
class PromptIRConfig:
    """The backbone and its prompts; the default is PromptIR as its authors describe it.

    Attributes:
        dim: channels of level 1; levels 2, 3, 4 have 2, 4, 8 times as many.
        blocks: transformer blocks of each level, the same in encoder and decoder.
        refinement: blocks after the decoder, at full size.
        heads: attention heads of each level; the sites' fusion blocks use those of level 3.
        expansion: hidden channels per channel in the feed-forward.
        prompt: a key of `PROMPTS`.
        prompts: N, prompts of each site (prototypes, for "dppd").
        top_k: k, prompts that "spm" selects.
        dpa: whether "dppd" assigns prototypes.
        pdl: whether "dppd" draws its prompts from distributions.
        samples: M, prompts that "dppd" draws.
        prompt_channels: channels of a prompt at sites 3, 2, 1.
        prompt_sizes: side of a stored prompt at sites 3, 2, 1 ("dppd": prompts are vectors).
        unused_convs: add the six 1x1 convolutions that the authors' network holds but never
            runs (215,296 parameters), for counts and files that include them.
    """

    dim: int = 48
    blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    refinement: int = 4
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    expansion: float = 2.66
    prompt: str = "soft"
    prompts: int = 5
    top_k: int = 1
    dpa: bool = True
    pdl: bool = True
    samples: int = 4
    prompt_channels: tuple[int, int, int] = (320, 128, 64)
    prompt_sizes: tuple[int, int, int] = (16, 32, 64)
    unused_convs: bool = False


PRESETS = {
    "promptir": PromptIRConfig(),
    "cpl": PromptIRConfig(prompt="spm"),
    "cpl-small": PromptIRConfig(
        dim=24, blocks=(2, 4, 4, 6), refinement=2, prompt="spm", prompt_channels=(160, 64, 32)
    ),
    "cpl-tiny": PromptIRConfig(
        dim=16,
        blocks=(1, 1, 1, 2),
        refinement=1,
        prompt="spm",
        prompt_channels=(64, 32, 16),
        prompt_sizes=(8, 16, 32),
    ),
}


class Route(NamedTuple):
    """What one site's router said, and the weights that the site used (its own or forced)."""

    p_BN: Tensor
    w_BN: Tensor


class Features(NamedTuple):
    """The encoder's output at each level; no prompt has touched it."""

    level1_BCHW: Tensor
    level2_BCHW: Tensor
    level3_BCHW: Tensor
    latent_BCHW: Tensor


class PromptIR(nn.Module):
    """Restores images: x + decoder(encoder(x)), the decoder prompted at three sites.

    Args:
        config: sizes and kind of prompt.

    Raises:
        UserError: `config.prompt` is unknown.
        ValueError: heads that do not divide channels, or fewer than 2 * top_k sparse prompts.
    """

    multiple = 8

    def __init__(self, config: PromptIRConfig) -> None:
        super().__init__()
        self.config = config
        d1, d2, d3, d4 = (config.dim * scale for scale in (1, 2, 4, 8))
        b1, b2, b3, b4 = config.blocks
        h1, h2, h3, h4 = config.heads

        self.embed = OverlapPatchEmbed(d1)
        self.encoder1 = self._blocks(b1, d1, h1)
        self.down1 = Down(d1)
        self.encoder2 = self._blocks(b2, d2, h2)
        self.down2 = Down(d2)
        self.encoder3 = self._blocks(b3, d3, h3)
        self.down3 = Down(d3)
        self.latent = self._blocks(b4, d4, h4)

        self.site3 = self._site(0, d4, d3)
        self.up3 = Up(d3)
        self.reduce3 = conv1x1(d2 + d3, d3)
        self.decoder3 = self._blocks(b3, d3, h3)
        self.site2 = self._site(1, d3, d3)
        self.up2 = Up(d3)
        self.reduce2 = conv1x1(d2 + d2, d2)
        self.decoder2 = self._blocks(b2, d2, h2)
        self.site1 = self._site(2, d2, d2)
        self.up1 = Up(d2)
        # Level 1 concatenates and does not reduce: it runs at 2 * dim.
        self.decoder1 = self._blocks(b1, d2, h1)
        self.refinement = self._blocks(config.refinement, d2, h1)
        self.head = conv3x3(d2, 3)

        if config.unused_convs:
            # 256 is what they reduce the third prompt to.
            c3, c2, c1 = config.prompt_channels
            pairs = ((c1, c1), (c2, c2), (c3, 256), (d1 + c1, d1), (d2 + c2, d2), (d3 + 256, d3))
            self.unused = nn.ModuleList(conv1x1(*pair) for pair in pairs)

    @property
    def sites(self) -> tuple[Prompt, Prompt, Prompt]:
        """The prompt sites in the order of everything that has one entry per site: 3, 2, 1."""
        return self.site3, self.site2, self.site1

    @overload
    def forward(
        self,
        x_BCHW: Tensor,
        w: Sequence[Tensor | None] | None = None,
        return_routes: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def forward(
        self, x_BCHW: Tensor, w: Sequence[Tensor | None] | None, return_routes: Literal[True]
    ) -> tuple[Tensor, list[Route]]: ...

    def forward(
        self,
        x_BCHW: Tensor,
        w: Sequence[Tensor | None] | None = None,
        return_routes: bool = False,
    ) -> Tensor | tuple[Tensor, list[Route]]:
        """Restore images.

        Args:
            x_BCHW: RGB in [0, 1]; height and width are multiples of 8.
            w: forced weights w_BN of sites 3, 2, 1; None, for all or for one, asks the router.
            return_routes: also return what happened at each site.

        Returns:
            y_BCHW, RGB, not clipped to [0, 1]; with `return_routes` also the three routes.

        Raises:
            ValueError: height or width is no multiple of 8.
        """
        y_BCHW, routes = self.decode(x_BCHW, self.encode(x_BCHW), w)
        return (y_BCHW, routes) if return_routes else y_BCHW

    def encode(self, x_BCHW: Tensor) -> Features:
        """The half of `forward` that no prompt reaches: shared by all routes of an image."""
        height, width = x_BCHW.shape[2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"image of {height}x{width}: pad height and width to multiples of {self.multiple}"
            )
        level1_BCHW = self.encoder1(self.embed(x_BCHW))
        level2_BCHW = self.encoder2(self.down1(level1_BCHW))
        level3_BCHW = self.encoder3(self.down2(level2_BCHW))
        return Features(level1_BCHW, level2_BCHW, level3_BCHW, self.latent(self.down3(level3_BCHW)))

    def decode(
        self, x_BCHW: Tensor, features: Features, w: Sequence[Tensor | None] | None = None
    ) -> tuple[Tensor, list[Route]]:
        """The other half of `forward`: features, prompted, to images. Arguments as there."""
        forced3, forced2, forced1 = (None, None, None) if w is None else w
        y, route3 = _prompted(self.site3, features.latent_BCHW, forced3)
        y = self.decoder3(self.reduce3(cat([self.up3(y), features.level3_BCHW], 1)))
        y, route2 = _prompted(self.site2, y, forced2)
        y = self.decoder2(self.reduce2(cat([self.up2(y), features.level2_BCHW], 1)))
        y, route1 = _prompted(self.site1, y, forced1)
        y = self.decoder1(cat([self.up1(y), features.level1_BCHW], 1))
        return self.head(self.refinement(y)) + x_BCHW, [route3, route2, route1]

    def _blocks(self, count: int, dim: int, heads: int) -> nn.Sequential:
        expansion = self.config.expansion
        return nn.Sequential(*(TransformerBlock(dim, heads, expansion) for _ in range(count)))

    def _site(self, index: int, dim_in: int, dim_out: int) -> Prompt:
        config = self.config
        if config.prompt not in PROMPTS:
            raise UserError(f"no prompt {config.prompt!r}; there are {', '.join(PROMPTS)}")
        return PROMPTS[config.prompt](
            SiteConfig(
                dim_in,
                dim_out,
                channels=config.prompt_channels[index],
                size=config.prompt_sizes[index],
                heads=config.heads[2],
                expansion=config.expansion,
                prompts=config.prompts,
                top_k=config.top_k,
                dpa=config.dpa,
                pdl=config.pdl,
                samples=config.samples,
            )
        )


def _prompted(site: Prompt, x_BCHW: Tensor, forced_BN: Tensor | None) -> tuple[Tensor, Route]:
    p_BN = site.probabilities(x_BCHW)
    w_BN = site.select(p_BN) if forced_BN is None else forced_BN
    return site(x_BCHW, w_BN), Route(p_BN, w_BN)


def create_promptir(name: str, **changes: Any) -> PromptIR:
    """A network of a preset with random weights.

    Args:
        name: a key of `PRESETS`.
        **changes: fields of `PromptIRConfig` to replace, e.g. ``prompts=7``.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"no network {name!r}; there are {', '.join(PRESETS)}")
    return PromptIR(replace(PRESETS[name], **changes))
