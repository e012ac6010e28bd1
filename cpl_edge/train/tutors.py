"""What a student learns from: a teacher of the papers' kind, or a larger student.

Legend: B crops, S sites, N prompts of a site; of a student S = 1 and N its degradations.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIR
from cpl_edge.models.student import Student
from cpl_edge.models.teachers import is_teacher, load_teacher
from cpl_edge.models.zoo import load_student
from cpl_edge.train.task import middle_of


class Tutor(NamedTuple):
    """A frozen network with what distillation asks of it.

    Attributes:
        network: in evaluation mode.
        sites: S, where it routes.
        prompts: N, what each router chooses among.
    """

    network: PromptIR | Student
    sites: int
    prompts: int

    def answer(self, x_BCHW: Tensor, crop: int, label_B: Tensor) -> tuple[Tensor, Tensor]:
        """Restore the middle of degraded crops.

        A teacher sees the middle alone and routes by itself, as its papers train it. A student is
        told the degradation, so that it never teaches its router's mistakes, and sees all of the
        crop for the levels.

        Args:
            x_BCHW: crops, with the context for a router.
            crop: side of their middle.
            label_B: index of the degradation.

        Returns:
            ``y_BCHW``, and the routers' probabilities ``p_SBN``.
        """
        x_middle_BCHW = middle_of(x_BCHW, crop)
        if isinstance(self.network, PromptIR):
            y_BCHW, routes = self.network(x_middle_BCHW, None, True)
            return y_BCHW, torch.stack([route.p_BN.float() for route in routes])
        logits_BSL = self.network.logits(x_BCHW)
        y_BCHW = self.network.restore(x_middle_BCHW, self.network.forced(logits_BSL, label_B))
        return y_BCHW, self.network.names(logits_BSL.float()).softmax(-1).transpose(0, 1)


def open_tutor(name: str, degradations: tuple[str, ...]) -> Tutor:
    """Read a teacher's file, a student's file or a shipped student.

    Args:
        name: of any of them.
        degradations: that the learning student knows, which a student must know as well.

    Raises:
        UserError: no such file, not weights, or a student that knows other degradations.
    """
    if name.endswith(".safetensors") and is_teacher(Path(name)):
        teacher = load_teacher(Path(name)).requires_grad_(False)
        prompts = 0 if teacher.config.prompt == "none" else teacher.config.prompts
        return Tutor(teacher, len(teacher.sites), prompts)
    student = load_student(name).requires_grad_(False)
    if student.config.prompt != "levels" or student.config.degradations != degradations:
        raise UserError(
            f"{name} does not know the degradations {', '.join(degradations)} by name: choose "
            "another teacher"
        )
    return Tutor(student, 1, len(degradations))


def decoder_places(network: PromptIR | Student) -> tuple[nn.Module, nn.Module]:
    """Modules whose inputs are the decoder's features at half and at quarter size.

    Raises:
        UserError: degradations have convolutions of their own, so that a batch has no one decoder.
    """
    if isinstance(network, PromptIR):
        return network.site1, network.site2
    if network.config.own:
        raise UserError(
            f"feature compares decoders, and here each degradation has its own "
            f"{', '.join(network.config.owned_parts)}: leave feature out"
        )
    # The student's middle may be empty, its "up" is not.
    return network.tail, network.up
