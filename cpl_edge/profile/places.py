"""Where in the student an operator is: module paths, and the order that identifies them.

Module paths are those of `cpl_edge.models.student`: ``router.conv1``, ``router.conv2``,
``router.hidden``, ``router.head``, ``head``, ``encoder.0.expand``, ``encoder.0.project``,
``encoder.0.scale``, ``encoder.0.shift``, ``down``, ``middle...``, ``up``, ``decoder...``, ``tail``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from cpl_edge.profile.schema import UNKNOWN

Kind = Literal["conv", "deconv", "linear", "other"]
"""What an operator is to the student; all but ``other`` have weights, and are called anchors."""

_STAGES = ("encoder", "middle", "decoder")
_QUARTER = ("middle", "down")
_HALF = ("head", "encoder", "decoder", "up", "tail")
# Words of a lowered student (cpl_edge.export.lowering) and of the student itself -> the student's.
_ROUTER = {
    "first": "conv1",
    "second": "conv2",
    "conv1": "conv1",
    "conv2": "conv2",
    "hidden": "hidden",
    "head": "head",
}
_PARTS = ("expand", "project", "scale", "shift")
# Orders in which converters put the weighted operators of a block; the last is a pinned block's.
_BODIES = {
    "FFCC": ("scale", "shift", "expand", "project"),
    "FCFC": ("scale", "expand", "shift", "project"),
    "CC": ("expand", "project"),
}


@dataclass(frozen=True)
class Place:
    """Coordinates of a module path in the student; see `cpl_edge.profile.schema.Row`."""

    level: str
    block: str | None
    prompt_site: str | None


def place(module: str) -> Place:
    """Coordinates of a module path.

    Args:
        module: a path as above, or a block, or ``unknown``.

    Returns:
        Its resolution, block and prompt site.
    """
    first, *rest = module.split(".")
    if first == "router":
        return Place("router", None, None)
    if first in _STAGES and rest and rest[0].isdigit():
        block = f"{first}.{rest[0]}"
        site = block if rest[1:] and rest[1] in ("scale", "shift") else None
        return Place("quarter" if first in _QUARTER else "half", block, site)
    if first in _QUARTER or first in _HALF:
        return Place("quarter" if first in _QUARTER else "half", None, None)
    return Place(UNKNOWN, None, None)


def block_of(module: str) -> str:
    """The block, the whole router, or the module itself: what its neighbours belong to."""
    first, *rest = module.split(".")
    if first == "router":
        return first
    return f"{first}.{rest[0]}" if first in _STAGES and rest else module


def kind_of(operator: str) -> Kind:
    """Kind of an operator, from the word that any of the runtimes uses for it."""
    word = operator.lower().replace("_", "").replace(" ", "")
    if re.search(r"deconv|transposeconv|convtranspose|convolutiontranspose", word):
        return "deconv"
    if re.search(r"conv(?!ert)", word):
        return "conv"
    if re.search(r"fullyconnected|gemm|matmul|linear|innerproduct|addmm|aten::mm", word):
        return "linear"
    return "other"


def module_from_path(path: str) -> str:
    """Module of a parameter's or module's dotted path, with any prefix and suffix.

    Args:
        path: e.g. ``restore.lowered.encoder.0.expand.weight``.

    Returns:
        The student's path, or ``unknown``.
    """
    words = [w for w in path.split(".") if w not in ("weight", "bias")]
    for i, word in enumerate(words):
        rest = words[i + 1 :]
        if word == "router":
            known = next((_ROUTER[w] for w in rest if w in _ROUTER), None)
            return f"router.{known}" if known else "router"
        if word in _STAGES and rest and rest[0].isdigit():
            part = next((w for w in rest[1:] if w in _PARTS), None)
            if part is None and rest[1:] and rest[1] in ("scale_NC", "shift_NC"):
                part = rest[1].removesuffix("_NC")
            return ".".join(filter(None, [word, rest[0], part]))
        if word in ("head", "down", "up", "tail"):
            return word
    return UNKNOWN


@dataclass(frozen=True)
class Anchor:
    """A convolution, transposed convolution or linear layer, in the order of execution.

    Attributes:
        kind: which of the three.
        channels: input and output channels, or None where the source does not tell.
    """

    kind: Kind
    channels: tuple[int, int] | None = None


def modules_by_order(anchors: Sequence[Anchor]) -> list[str] | None:
    """Modules of all anchors of one entry point, from their order alone.

    A student's weighted operators come in one order: the router's two convolutions and two linear
    layers (``forward`` and ``route`` only); the head; blocks of scale, shift, expand and project
    (plain and pinned blocks have no scale and shift); the convolution down; blocks; the
    up-convolution, which may be a transposed one, or run as a linear layer; blocks; the tail, and
    a transposed convolution where the target has no pixel shuffle.

    Args:
        anchors: all of them, in order.

    Returns:
        One path for each, or None where the order is not that of a student or fits in two ways.
    """
    letters = "".join({"conv": "C", "deconv": "T", "linear": "F"}[a.kind] for a in anchors)
    if letters == "CCFF":
        return ["router.conv1", "router.conv2", "router.hidden", "router.head"]
    found: set[tuple[str, ...]] = set()
    for router in ("CCFF", ""):
        for body in _BODIES:
            found |= _fits(letters, router, body, anchors)
    return list(found.pop()) if len(found) == 1 else None


def _fits(letters: str, router: str, body: str, anchors: Sequence[Anchor]) -> set[tuple[str, ...]]:
    """All divisions into encoder, middle and decoder that the letters and channels allow."""
    ahead = ["router.conv1", "router.conv2", "router.hidden", "router.head"] if router else []
    bodies = sorted({body, "CC"})  # parts without prompts have plain blocks
    fits = set()
    starts = [(router + "C", [*ahead, "head"])]
    for stage, joints in (
        ("encoder", ["C"]),
        ("middle", ["C", "T", "F"]),
        ("decoder", ["C", "CT"]),
    ):
        follows = {"encoder": "down", "middle": "up", "decoder": "tail"}[stage]
        grown = []
        for (text, names), own, joint in product(starts, bodies, joints):
            for count in range(len(letters) // len(own) + 1):
                longer = text + own * count + joint
                if not letters.startswith(longer):
                    continue
                added = [*_blocks(stage, count, own), *[follows] * len(joint)]
                grown.append((longer, [*names, *added]))
        starts = grown
    for text, names in starts:
        if text == letters and _channels_fit(names, anchors):
            fits.add(tuple(names))
    return fits


def _blocks(stage: str, count: int, body: str) -> list[str]:
    return [f"{stage}.{i}.{part}" for i in range(count) for part in _BODIES[body]]


def _channels_fit(names: Sequence[str], anchors: Sequence[Anchor]) -> bool:
    """Whether expand and project keep the channels, and the rest change them, as far as known."""
    width = {"half": set[int](), "quarter": set[int]()}
    for name, anchor in zip(names, anchors, strict=True):
        if anchor.channels is None:
            continue
        given, made = anchor.channels
        last = name.rpartition(".")[2]
        if last in ("expand", "project"):
            if given != made:
                return False
            width[place(name).level].add(made)
        elif name == "head":
            width["half"].add(made)
        elif name == "down":
            width["half"].add(given)
            width["quarter"].add(made)
    return all(len(found) <= 1 for found in width.values())
