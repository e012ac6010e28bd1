"""What a converter is given: the entry points of a lowered student, with example inputs.

Entry points (`cpl_edge.runtimes.protocol`): ``forward(x) -> y``, ``route(x) -> w, logits`` and
``restore(x, w) -> y``. They are modules that share one lowered student, so a format with several
entry points stores one copy of the weights.

Where each degradation has convolutions of its own, ``restore`` is one function for each of them,
each a program of its own that :func:`join_programs` puts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cpl_edge.export.lowering import LoweredStudent, Swaps
from cpl_edge.models.student import Student
from cpl_edge.quantize.preparation import Quantization
from cpl_edge.runtimes.info import ModelInfo, restorer

ENTRY_POINTS = {
    "auto": ("forward", "route", "restore"),
    "split": ("route", "restore"),
    "told": ("forward", "route", "restore"),
    "pinned": ("forward",),
}
"""Routing of a build -> the entry points of its file."""


class EntryPoint(nn.Module):
    """Base of the entry points: one lowered student, images as BCHW or as BHWC."""

    def __init__(self, lowered: LoweredStudent, channels_last: bool) -> None:
        super().__init__()
        self.lowered, self.channels_last = lowered, channels_last

    def image_in(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2) if self.channels_last else x

    def image_out(self, y_BCHW: Tensor) -> Tensor:
        return y_BCHW.permute(0, 2, 3, 1) if self.channels_last else y_BCHW


class Forward(EntryPoint):
    """``x -> y``, routing by itself."""

    def forward(self, x: Tensor) -> Tensor:
        x_BCHW = self.image_in(x)
        w_BN, _ = self.lowered.router(x_BCHW)
        return self.image_out(self.lowered.restore(x_BCHW, w_BN))


class Pinned(EntryPoint):
    """``x -> y`` of a student whose prompt is folded into its convolutions: no weights needed."""

    def forward(self, x: Tensor) -> Tensor:
        return self.image_out(self.lowered.restore(self.image_in(x), torch.zeros(1, 0)))


class Route(EntryPoint):
    """``x -> w_BSN, logits_BSL``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        w_BN, logits_BL = self.lowered.router(self.image_in(x))
        return w_BN.view(1, 1, -1), logits_BL.view(1, 1, -1)


class Restore(EntryPoint):
    """``x, w_BSN -> y``."""

    def forward(self, x: Tensor, w_BSN: Tensor) -> Tensor:
        return self.image_out(self.lowered.restore(self.image_in(x), w_BSN.view(1, -1)))


@dataclass(frozen=True)
class Program:
    """A lowered student, ready for conversion.

    Attributes:
        info: what the model file will say about itself.
        student: what was lowered; with weights that are rounded already, or corrected biases, it
            is not the student that the file is judged by.
        lowered: the student in the target's operators.
        entries: name of an entry point -> its module.
        quantization: what becomes of weights and activations, or None for plain floats.
        members: name of an entry of a joined program -> the program that it comes from.
    """

    info: ModelInfo
    student: Student
    lowered: LoweredStudent
    entries: dict[str, EntryPoint]
    quantization: Quantization | None = None
    members: Mapping[str, Program] = field(default_factory=dict)

    def member(self, name: str) -> Program:
        """The program that an entry comes from: this one, but for a joined one."""
        return self.members.get(name, self)

    def inputs(self, name: str) -> tuple[Tensor, ...]:
        """Example inputs of an entry point, as the file takes them."""
        info = self.info
        size = (info.height, info.width)
        x = torch.rand(1, *size, 3) if info.layout == "NHWC" else torch.rand(1, 3, *size)
        w_BSN = torch.rand(1, info.sites, info.prompts)
        return (x, w_BSN) if info.functions.get(name, name) == "restore" else (x,)


def make_program(student: Student, info: ModelInfo, swaps: Swaps) -> Program:
    """Lower a student and wrap it in the entry points of its routing.

    Args:
        student: in evaluation mode; pinned where ``info.pinned`` says so.
        info: decides the entry points, the layout and the size.
        swaps: what the target wants replaced.
    """
    assert info.sites == 1, "one router serves every block"
    lowered = LoweredStudent(student, swaps)
    kinds: dict[str, type[EntryPoint]] = {
        "forward": Pinned if info.routing == "pinned" else Forward,
        "route": Route,
        "restore": Restore,
    }
    channels_last = info.layout == "NHWC"
    entries = {name: kinds[name](lowered, channels_last).eval() for name in info.entry_points}
    return Program(info, student, lowered, entries)


def join_programs(info: ModelInfo, members: Mapping[str, Program]) -> Program:
    """One program of those of all degradations; the router is the first one's.

    It has no ``forward``: a target whose files can choose makes that of the others.

    Args:
        info: of the joined file.
        members: degradation -> its program, with the entries ``route`` and ``restore``.
    """
    first = next(iter(members.values()))
    by_function = {restorer(name): program for name, program in members.items()}
    entries = {"route": first.entries["route"]}
    entries |= {name: program.entries["restore"] for name, program in by_function.items()}
    return Program(info, first.student, first.lowered, entries, first.quantization, by_function)
