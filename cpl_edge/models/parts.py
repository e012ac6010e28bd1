"""The convolutions and residual blocks that an image passes in a student."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from cpl_edge.models.prompted import PlainBlock, PromptedBlock, bias_of
from cpl_edge.models.shape import PARTS, StudentConfig


def add_parts(to: nn.Module, config: StudentConfig, units: Collection[str], prompts: int) -> None:
    """Give a module convolutions and blocks, at the names that they have in a plain student.

    Args:
        to: the student, or what a degradation owns of it.
        config: of the student.
        units: which of them.
        prompts: how many the blocks select from: all, or the levels of the one that owns them.
    """
    for part in PARTS:
        if part in config.counts:
            to.add_module(part, nn.ModuleList())
        for unit in config.units_of(part):
            if unit in units:
                home = to if unit == part else to.get_submodule(part)
                # Of a list that is shared in part, indices may be missing.
                home.add_module(unit.split(".")[-1], _unit(config, part, prompts))


def _unit(config: StudentConfig, name: str, prompts: int) -> nn.Module:
    """A convolution, or one residual block of encoder, middle or decoder."""
    half, quarter = config.widths
    if name == "head":
        return nn.Conv2d(12, half, 3, padding=1)
    if name == "down":
        return nn.Conv2d(half, quarter, config.down, stride=2, padding=config.down // 3)
    if name == "up":
        # No bias: where a target folds the shuffle into a transposed convolution, one bias per
        # sub-pixel would not fold with it.
        return nn.Conv2d(quarter, 4 * half, 1, bias=False)
    if name == "tail":
        tail = nn.Conv2d(half, 12, 3, padding=1)
        with torch.no_grad():
            tail.weight.mul_(0.1)
            bias_of(tail).zero_()
        return tail
    channels = quarter if name == "middle" else half
    if config.prompts and name in config.prompted:
        return PromptedBlock(channels, prompts, config.rank)
    return PlainBlock(channels)
