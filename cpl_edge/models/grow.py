"""Growing a trained student into a wider or deeper one that restores exactly the same.

The idea is that of Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016;
the way here is simpler than their copied channels: what is new is random, and what was there does
not read it. New blocks start as the identity, as all blocks do. A larger student so begins where
the smaller one ended, instead of spending most of a short training on getting there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from cpl_edge.models.student import Student


def grow(small: Student, large: Student) -> None:
    """Give ``large`` what ``small`` knows.

    Restoration with given prompt weights is then the same up to rounding. The router comes along
    where both have the same shape of it; otherwise ``large`` keeps its own. Parts that ``large``
    has for each degradation begin as copies of the one that all shared; prompts where there were
    none begin by changing nothing.

    Args:
        small: trained.
        large: of the same degradations and levels, with as many blocks, channels, prompted and own
            parts or more; its weights are overwritten, apart from those of new channels and blocks.

    Raises:
        ValueError: ``small`` does not fit into ``large``.
    """
    ours, theirs = small.config, large.config
    freely = {
        name: getattr(ours, name)
        for name in ("widths", "blocks", "router_widths", "router_hidden", "prompted", "own")
    }
    if replace(theirs, **freely) != ours:
        raise ValueError(
            "they differ in more than widths, blocks, prompted and own parts and the router's size"
        )
    if unprompted := set(ours.prompted) - set(theirs.prompted):
        raise ValueError(f"the prompts of {', '.join(sorted(unprompted))} would be lost")
    for d, name in enumerate(ours.degradations):
        if lost := sorted(ours.owned(d) & set(theirs.units) - theirs.owned(d)):
            raise ValueError(f"what {name} owns, {', '.join(lost)}, cannot be shared again")
    pairs = zip((*ours.widths, *ours.blocks), (*theirs.widths, *theirs.blocks), strict=True)
    if any(a > b for a, b in pairs):
        raise ValueError(
            f"widths {ours.widths} and blocks {ours.blocks} do not fit into "
            f"{theirs.widths} and {theirs.blocks}"
        )
    same_router = (ours.router_widths, ours.router_hidden) == (
        theirs.router_widths,
        theirs.router_hidden,
    )
    values = dict(small.named_parameters())
    with torch.no_grad():
        for name, parameter in large.named_parameters():
            if name.startswith("router.") and not same_router:
                continue
            if (value := _source(name, values, theirs.levels)) is not None:
                _embed(value, parameter)
            elif (
                name.endswith(("scale_NC", "shift_NC"))
                and _source(_beside(name), values, 0) is not None
            ):
                parameter.zero_()  # of a block that had no prompts


@torch.no_grad()
def take_own(source: Student, into: Student, degradation: str) -> None:
    """Give ``into`` what one degradation owns in ``source``, where all else is the same.

    Args:
        source: trained, from the same shared parts and router; a smaller one grows first, and then
            what is new in ``into`` and shared must do nothing yet.
        into: the student to change.
        degradation: its name.

    Raises:
        ValueError: no such degradation, nothing that it owns, a source that does not fit, or shared
            parts that differ.
    """
    names = into.config.degradations
    if degradation not in names:
        raise ValueError(f"choose from {', '.join(names)}")
    ours = into.state_dict()
    prefix = f"own.{names.index(degradation)}."
    own = {name for name in ours if name.startswith(prefix)}
    if not own:
        raise ValueError("it owns nothing here")
    theirs = (source if source.config == into.config else _grown(source, into)).state_dict()
    needed = own | {name for name in ours if not name.startswith("own.")}
    for name in sorted(needed):
        if name not in theirs or theirs[name].shape != ours[name].shape:
            raise ValueError(f"it has no {name} of this shape")
        if name not in own and not torch.equal(theirs[name], ours[name]):
            raise ValueError(f"{name}, which degradations share, differs")
        ours[name].copy_(theirs[name])


def _grown(source: Student, into: Student) -> Student:
    """``source`` in the shape of ``into``, with what ``into`` has in new shared blocks.

    But for their last convolution, which stays zero: it tells whether those blocks do nothing.
    """
    with torch.random.fork_rng(devices=[]):
        large = Student(into.config)
    grow(source, large)
    known, values = dict(source.named_parameters()), dict(into.named_parameters())
    for name, parameter in large.named_parameters():
        if name not in known and not name.startswith("own.") and ".project." not in name:
            parameter.copy_(values[name])
    return large


def _beside(name: str) -> str:
    """The first convolution of the block that a parameter belongs to."""
    return name.rpartition(".")[0] + ".expand.weight"


def _source(name: str, values: Mapping[str, Tensor], levels: int) -> Tensor | None:
    """The smaller student's value of a parameter, or None of a block that is new.

    What a degradation comes to own it takes from what all shared: of prompts, its own levels.
    """
    if name in values or not name.startswith("own."):
        return values.get(name)
    _, degradation, shared = name.split(".", 2)
    value = values.get(shared)
    if value is None or not shared.endswith(("scale_NC", "shift_NC")):
        return value
    return value[int(degradation) * levels : (int(degradation) + 1) * levels]


def _embed(value: Tensor, into: Tensor) -> None:
    """Copy to the lower indices; kernels there do not see input channels that are new."""
    if value.ndim == 4:
        into[: value.shape[0], value.shape[1] :] = 0
    into[tuple(slice(n) for n in value.shape)] = value
