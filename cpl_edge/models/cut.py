"""Cutting a trained student down to fewer blocks, prompts and taps, as the start of a faster one.

What is left restores worse until it has been trained on; it begins nearer to where it ends than
random weights do.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import torch

from cpl_edge.models.prompted import PinnedBlock, PromptedBlock
from cpl_edge.models.student import Student


@torch.no_grad()
def cut(
    student: Student, blocks: tuple[int, ...], prompted: Collection[str], down: Literal[2, 3] = 3
) -> Student:
    """A copy without the last blocks of its parts, and without the prompts of some.

    Blocks that come to have no prompts keep the mean of those that they had; of a kernel that
    halves the resolution what is left reads the pixels that no other place reads as well.

    Args:
        student: trained; what its degradations own, they own whole parts of.
        blocks: of the encoder, the middle and the decoder, to be left at most.
        prompted: parts whose blocks stay prompted, if they are.
        down: side of the kernel that halves the resolution, at most.

    Returns:
        A student in evaluation mode; the given one itself where there is nothing to cut.

    Raises:
        ValueError: a single block that is owned would be cut away, or all prompts.
    """
    config = student.config
    encoder, middle, decoder = map(min, zip(config.blocks, blocks, strict=True))
    left = (encoder, middle, decoder)
    kept = tuple(part for part in config.prompted if part in prompted)
    side: Literal[2, 3] = 2 if down == 2 else config.down
    if (left, kept, side) == (config.blocks, config.prompted, config.down):
        return student
    if config.prompts and not kept:
        raise ValueError(f"no part would have prompts: {', '.join(prompted)} had none")
    plain = copy.deepcopy(student)
    for name, block in student.named_modules():
        place, _, index = name.rpartition(".")
        if isinstance(block, PromptedBlock) and place.rpartition(".")[2] not in kept:
            count = len(block.scale_NC)
            pinned = PinnedBlock(block, torch.full((count,), 1 / count))
            plain.get_submodule(place).add_module(index, pinned)
    smaller = Student(replace(config, blocks=left, prompted=kept, down=side))
    values = plain.state_dict()
    for name, mine in smaller.state_dict().items():
        # Of the taps before, at and behind a pixel, the first ones read what another place reads.
        mine.copy_(
            values[name][..., -side:, -side:] if name.endswith("down.weight") else values[name]
        )
    return smaller.eval()
