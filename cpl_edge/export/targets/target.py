"""What every target is: its file, what it supports, how a student gets into it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import Program, make_program
from cpl_edge.models.student import Student
from cpl_edge.quantize.support import PRECISIONS, SUPPORT
from cpl_edge.runtimes.info import Layout, ModelInfo


@dataclass(frozen=True)
class Inspection:
    """What is inside a model file.

    Attributes:
        operators: entry point -> operator -> how often.
        outside: entry point -> operators that the accelerator does not take.
        unportable: entry point -> operators with which other accelerators refuse the file.
        partitions: entry point -> pieces that the accelerator takes it in; empty where no
            accelerator takes pieces.
    """

    operators: dict[str, dict[str, int]]
    outside: dict[str, list[str]] = field(default_factory=dict)
    unportable: dict[str, list[str]] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)


class Target(ABC):
    """A format and the runtime behind it.

    Attributes:
        name: word of the target, which is also the name of its extra.
        model: name of the model file (or folder) in a build.
        layout: memory order of images in the file.
        swaps: the replacements that measured best here.
        accelerator: what runs the operators.
        chooses: whether a file can choose between functions by itself, and run one of them.
        modules: modules that conversion and gates import.
        packages: distributions whose versions go into the file.
    """

    name: ClassVar[str]
    model: ClassVar[str]
    layout: ClassVar[Layout] = "NCHW"
    swaps: ClassVar[Swaps] = Swaps()
    accelerator: ClassVar[str]
    chooses: ClassVar[bool] = False
    modules: ClassVar[Sequence[str]]
    packages: ClassVar[Sequence[str]]

    def supports(self, precision: str) -> str | None:
        """None, or why not, with the nearest precision that is supported."""
        if precision not in PRECISIONS:
            return f"there is no such precision; choose from {', '.join(PRECISIONS)}"
        return SUPPORT[self.name][precision] or None

    def lower(self, student: Student, info: ModelInfo) -> Program:
        """Rewrite a student in this target's operators."""
        return make_program(student, info, self.swaps)

    @abstractmethod
    def convert(self, program: Program, folder: Path) -> Path:
        """Write the model file, with its metadata, into a folder and return its path."""

    @abstractmethod
    def inspect(self, path: Path) -> Inspection:
        """List the operators of a model file, and those that the accelerator leaves out."""
