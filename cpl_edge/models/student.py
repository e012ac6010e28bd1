"""The student: plain convolutions; one selected prompt per photo scales and shifts channels.

The design follows early, short experiments: plain 3x3 convolutions learned best per second and
quantised best; degradations fight inside one small network unless a sparse prompt
separates them; and a router that pools *statistics* can tell them apart where a pooled mean of
linear features cannot.

The prompts are CPL's sparse prompts (method section 2: top-k of N learned prompts, the rest
exactly zero) with two differences: a prompt is one vector per block instead of a spatial pattern,
which keeps tiles exact, and each degradation owns ``levels`` prompts that are mixed softly, so that
the selection can also say *how strong* the degradation is. docs/search.md tells how these
choices are compared with others. The other settings of ``prompt``, ``router`` and ``rank`` are
there for that: they can be trained, but not exported.

With ``own`` parts a degradation also selects the convolutions of those parts. A photo has one
degradation selected for it, so that is a choice between networks of one size: it costs space and no
time, and what one degradation learns there no other has to bear. :meth:`Student.of` is one of them.

Legend: B batch, C channels, H and W pixels, D degradations, M levels, N = D * M prompts,
S routed sites (one router serves every block, so S = 1), L = D + N router outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.parts import add_parts
from cpl_edge.models.prompted import PinnedBlock, PlainBlock, PromptedBlock
from cpl_edge.models.router import StatisticsRouter
from cpl_edge.models.shape import DEGRADATIONS, StudentConfig

__all__ = [
    "DEGRADATIONS",
    "PinnedBlock",
    "PlainBlock",
    "PromptedBlock",
    "StatisticsRouter",
    "Student",
    "StudentConfig",
]

_SURE = 10.0  # logit of the degradation that a told student takes everything for; 0 of the others


class Student(nn.Module):
    """One network for several degradations, at half and quarter resolution.

    Input ``x_BCHW`` is float RGB in [0, 1] with H and W multiples of :attr:`multiple`, and of 16
    or more where it is routed; the output has the same shape and is not clipped.
    """

    multiple = 4
    router: StatisticsRouter
    head: nn.Conv2d
    encoder: nn.ModuleList
    down: nn.Conv2d
    middle: nn.ModuleList
    up: nn.Conv2d
    decoder: nn.ModuleList
    tail: nn.Conv2d
    own: nn.ModuleList

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StudentConfig()
        if config.prompts:
            self.router = StatisticsRouter(
                config.router_widths, config.router_hidden, config.outputs, config.router
            )
        owned = [config.owned(d) for d in range(len(config.degradations))]
        shared = set(config.units) - frozenset.intersection(*owned)
        add_parts(self, config, shared, config.prompts)
        if config.own:
            self.own = nn.ModuleList(nn.Module() for _ in owned)
            for module, units in zip(self.own, owned, strict=True):
                add_parts(module, config, units, config.levels)

    @property
    def halo(self) -> int:
        """Pixels of context that a tile needs on every side so that its core comes out exact.

        For tiles whose origin and core are multiples of :attr:`multiple`. In pixels: a 3x3
        convolution reaches 2 at half resolution and 4 at quarter resolution, a block twice that;
        the changes of resolution add up to 3, but only for pixels that lie so far inside their
        cell of 4, which is why the sum is rounded down.
        """
        encoder, middle, decoder = self.config.blocks
        reach = 2 * (1 + 2 * encoder + 1 + 2 * decoder + 1) + 4 * (2 * middle) + 3
        return reach // self.multiple * self.multiple

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """Router outputs ``logits_BSL``: D for the degradation, then M levels for each of them.

        With ``sparse`` and ``soft`` prompts only one for each prompt; with ``none``, none.
        """
        if not self.config.prompts:
            return x_BCHW.new_zeros(len(x_BCHW), 1, 0)
        out: Tensor = self.router(x_BCHW)[:, None]
        return out

    def names(self, logits_BSL: Tensor) -> Tensor:
        """Logits ``names_BSD`` of the degradations.

        Where the router has no outputs for them, those of the M prompts that a degradation owns
        together: the logarithm of their sum.
        """
        d, m = len(self.config.degradations), self.config.levels
        if self.config.prompt == "levels":
            return logits_BSL[..., :d]
        return torch.logsumexp(logits_BSL.reshape(*logits_BSL.shape[:-1], d, m), -1)

    def choices(self, logits_BSL: Tensor) -> Tensor:
        """Logits of what the router chooses from: D degradations, or all N prompts."""
        return self.names(logits_BSL) if self.config.prompt == "levels" else logits_BSL

    def select(self, logits_BSL: Tensor) -> Tensor:
        """Sparse weights ``w_BSN``: the top-1 degradation's levels by softmax, all else exactly 0.

        Plain arithmetic instead of top-k and gather, which mobile delegates do not take: the
        largest of D by a chain of maximum, ties to the first. The chosen weights sum to 1.

        That is for ``levels``. ``soft`` weights are all positive and sum to 1; a ``sparse`` one
        keeps its share of that softmax, through which the router learns.
        """
        if self.config.prompt == "none":
            return logits_BSL
        if self.config.prompt != "levels":
            w_BSN = torch.softmax(logits_BSL, -1)
            if self.config.prompt == "soft":
                return w_BSN
            top_BSN = F.one_hot(logits_BSL.argmax(-1), self.config.prompts)
            return w_BSN * top_BSN.to(w_BSN.dtype)
        d = len(self.config.degradations)
        first = logits_BSL[..., 0:1]
        largest = first
        for i in range(1, d):
            largest = torch.maximum(largest, logits_BSL[..., i : i + 1])
        free = torch.ones_like(first)  # 1 until a degradation has been selected: breaks ties
        parts = []
        for i in range(d):
            is_top = _step(logits_BSL[..., i : i + 1] - largest) * free
            free = free - is_top
            lo = d + i * self.config.levels
            levels = torch.softmax(logits_BSL[..., lo : lo + self.config.levels], -1)
            parts.append(levels * is_top)
        return torch.cat(parts, -1)

    def forced(self, logits_BSL: Tensor, degradation_B: Tensor) -> Tensor:
        """Weights ``w_BSN`` for a known degradation (its index), levels by the router."""
        if self.config.prompt == "none":
            return logits_BSL
        d, m = len(self.config.degradations), self.config.levels
        logits_BSN = logits_BSL[..., -self.config.prompts :]
        levels_BSDM = torch.softmax(logits_BSN.reshape(*logits_BSN.shape[:-1], d, m), -1)
        one_hot_BD = F.one_hot(degradation_B, d).to(levels_BSDM.dtype)
        return (levels_BSDM * one_hot_BD[:, None, :, None]).flatten(-2)

    def route(self, x_BCHW: Tensor) -> Tensor:
        """Sparse prompt weights ``w_BSN`` of a photo or crop."""
        return self.select(self.logits(x_BCHW))

    def restore(self, x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        """Restore with given prompt weights (from :meth:`route`, forced, or mixed by hand).

        With ``own`` parts the degradation that weighs most restores: what others weigh goes to its
        own levels there, as in :meth:`of`.
        """
        w_BN = w_BSN[:, 0]
        if not self.config.own:
            return self._restore(x_BCHW, w_BN)
        heaviest_B = self._shares(w_BN).sum(-1).argmax(-1)
        chosen = sorted(set(heaviest_B.tolist()))
        if len(chosen) == 1:
            return self._restore(x_BCHW, w_BN, chosen[0])
        y_BCHW = torch.empty_like(x_BCHW)
        for index in chosen:
            mine_B = heaviest_B == index
            y_BCHW[mine_B] = self._restore(x_BCHW[mine_B], w_BN[mine_B], index)
        return y_BCHW

    def _shares(self, w_BN: Tensor) -> Tensor:
        return w_BN.reshape(len(w_BN), len(self.config.degradations), self.config.levels)

    def _restore(self, x_BCHW: Tensor, w_BN: Tensor, degradation: int = 0) -> Tensor:
        """Restore with the weights of one degradation, where it has its own."""
        owned = self.config.owned(degradation)
        w_BM = self._shares(w_BN).sum(1) if owned else w_BN

        def part(name: str, y: Tensor) -> Tensor:
            for unit in self.config.units_of(name):
                home, w = (self.own[degradation], w_BM) if unit in owned else (self, w_BN)
                module = home.get_submodule(unit)
                y = module(y) if unit == name else module(y, w)
            return y

        skip = part("encoder", part("head", F.pixel_unshuffle(x_BCHW, 2)))
        y = part("middle", part("down", skip))
        y = F.pixel_shuffle(part("up", y), 2) + skip
        return x_BCHW + F.pixel_shuffle(part("tail", part("decoder", y)), 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Route and restore in one go."""
        return self.restore(x_BCHW, self.route(x_BCHW))

    @torch.no_grad()
    def of(self, degradation: int) -> Student:
        """A copy that restores with what one degradation owns, whatever is selected.

        Its prompts of every degradation are that one's of the same level, where they are owned.

        Args:
            degradation: its index.

        Returns:
            A student without ``own`` parts, in evaluation mode; its router is the same.
        """
        plain = Student(replace(self.config, own=()))
        values, mine = plain.state_dict(), self.state_dict()
        for name in values:
            owner = f"own.{degradation}." if f"own.{degradation}.{name}" in mine else ""
            value = mine[owner + name]
            if owner and value.shape != values[name].shape:  # prompts
                value = value.repeat(len(self.config.degradations), 1)
            values[name] = value
        plain.load_state_dict(values)
        return plain.eval()

    @torch.no_grad()
    def told(self, degradation: int) -> Student:
        """A copy that takes every image for one degradation, and still sees how strong it is.

        Its router's outputs for names are constants, and each of its prompts is that degradation's
        of the same level, so that nothing of the others is left to be rounded for.

        Args:
            degradation: its index.

        Returns:
            A student in evaluation mode whose ``route`` is what :meth:`forced` was.

        Raises:
            ValueError: no such degradation, or no prompts that belong to one.
        """
        d, m = len(self.config.degradations), self.config.levels
        if self.config.prompt != "levels" or not 0 <= degradation < d:
            raise ValueError(f"cannot be told degradation {degradation}: {self.config}")
        if self.config.own:
            return self.of(degradation).told(degradation)
        told = Student(self.config)
        told.load_state_dict(self.state_dict())
        own = slice(degradation * m, (degradation + 1) * m)
        for parameter in (told.router.head.weight, told.router.head.bias):
            names, levels = parameter[:d], parameter[d:]
            names.zero_()
            levels.copy_(levels[own].repeat(d, *(1,) * (levels.ndim - 1)))
        told.router.head.bias[degradation] = _SURE
        for block in (*told.encoder, *told.middle, *told.decoder):
            if isinstance(block, PromptedBlock):
                for prompts in block.prompts:
                    prompts.copy_(prompts[own].repeat(d, *(1,) * (prompts.ndim - 1)))
        return told.eval()

    def pin(self, w_N: Sequence[float] | Tensor) -> Student:
        """A copy with one prompt folded into its convolutions; its routing has no effect.

        Args:
            w_N: prompt weights to fold.

        Returns:
            A student in evaluation mode whose ``restore`` ignores the weights it is given.
        """
        weights = torch.as_tensor(w_N, dtype=next(self.parameters()).dtype)
        if weights.shape != (self.config.prompts,):
            raise ValueError(f"pin takes {self.config.prompts} weights, got {tuple(weights.shape)}")
        if self.config.own:
            return self.of(int(self._shares(weights[None])[0].sum(-1).argmax())).pin(weights)
        pinned = Student(self.config)
        pinned.load_state_dict(self.state_dict())
        for blocks in (pinned.encoder, pinned.middle, pinned.decoder):
            for i, block in enumerate(blocks):
                if isinstance(block, PromptedBlock):
                    blocks[i] = PinnedBlock(block, weights)
        return pinned.eval()


def _step(difference: Tensor) -> Tensor:
    """1 where ``difference`` (never positive) is 0, else 0, without a comparison.

    Two logits closer than 1e-6 would give a value between; :meth:`Student.select` stays a convex
    mixture of the two even then.
    """
    return torch.clamp(difference * 1e6 + 1.0, 0.0, 1.0)
