"""Students and teachers seen as what the prompt report asks of them: routers and forced prompts.

Images are float32 ``x_BCHW`` with B = 1, RGB in [0, 1]. Legend: N prompts of a site, G what a
router chooses among (a teacher's prompts; a student's degradations, each of which owns M levels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cpl_edge.errors import UserError
from cpl_edge.evaluate.prompts_statistics import Floats
from cpl_edge.models import teachers
from cpl_edge.models.promptir import PromptIR
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import load_student, student_path


@dataclass(frozen=True)
class Look:
    """What one site made of one image.

    Attributes:
        p_G: the router's probabilities.
        w_N: the prompts' weights that the site used.
        levels_GM: a student's levels by softmax, for every degradation; None for a teacher.
    """

    p_G: Floats
    w_N: Floats
    levels_GM: Floats | None = None

    @property
    def by_choice(self) -> Floats:
        """The weights by what was chosen among, levels added up."""
        sums_G: Floats = self.w_N.reshape(len(self.p_G), -1).sum(1)
        return sums_G


Looks = tuple[Look, ...]
"""One for every site, in the order of the network's ``sites``."""


class Network(Protocol):
    """What the report needs.

    Attributes:
        name: of the file.
        kind: ``"student"`` or ``"teacher"``.
        multiple: sides of images are multiples of it.
        sites: names of the prompt sites.
        choices: for every site, names of what its router chooses among.
    """

    name: str
    kind: str
    multiple: int
    sites: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]

    def restore(self, x_BCHW: Tensor) -> tuple[Tensor, Looks]:
        """Restore as the routers say."""
        ...

    def targets(self, looks: Mapping[str, Sequence[Looks]]) -> dict[str, Any]:
        """What can be forced, by name: what the network's routers do for each degradation.

        Args:
            looks: all images' looks by the label of their degradation.
        """
        ...

    def forced(self, x_BCHW: Tensor, looks: Looks, target: Any) -> Tensor:
        """Restore with other prompts than the router's.

        Only *which* prompts is forced: they weigh what the image's own router gave to its own.

        Args:
            x_BCHW: the image.
            looks: what :meth:`restore` said about it.
            target: a value of :meth:`targets`.
        """
        ...


class PromptedStudent:
    """A student: one router; what can be forced are the degradations that it knows by name.

    Its router chooses among the degradations, each of which owns M levels; without levels, among
    all prompts.
    """

    kind = "student"
    sites: tuple[str, ...] = ("router",)

    def __init__(self, student: Student, name: str) -> None:
        config = student.config
        if not config.prompts:
            raise UserError(f"{name} has no prompts: there is nothing to report")
        self.student, self.name = student, name
        self.multiple = max(student.multiple, 16)  # a router needs 16 pixels
        self.with_levels = config.prompt == "levels"
        every = tuple(f"{d} {m + 1}" for d in config.degradations for m in range(config.levels))
        self.choices: tuple[tuple[str, ...], ...] = (
            config.degradations if self.with_levels or config.levels == 1 else every,
        )

    def restore(self, x_BCHW: Tensor) -> tuple[Tensor, Looks]:
        logits_BSL = self.student.logits(x_BCHW)
        w_BSN = self.student.select(logits_BSL)
        g = len(self.choices[0])
        logits_L = logits_BSL[0, 0]
        levels_GM = _array(logits_L[g:].reshape(g, -1).softmax(1)) if self.with_levels else None
        look = Look(_array(logits_L[:g].softmax(0)), _array(w_BSN[0, 0]), levels_GM)
        return self.student.restore(x_BCHW, w_BSN), (look,)

    def targets(self, looks: Mapping[str, Sequence[Looks]]) -> dict[str, Any]:
        return {name: index for index, name in enumerate(self.student.config.degradations)}

    def forced(self, x_BCHW: Tensor, looks: Looks, target: Any) -> Tensor:
        index_B = torch.tensor([target], device=x_BCHW.device)
        w_BSN = self.student.forced(self.student.logits(x_BCHW), index_B)
        return self.student.restore(x_BCHW, w_BSN)


class PromptedTeacher:
    """A teacher: three routers whose prompts have no names.

    What can be forced is what its routers do for each degradation of the suite: sparse prompts, at
    each site those selected most often; soft ones, their mean weights.
    """

    kind = "teacher"
    sites: tuple[str, ...] = ("site 3 (H/8)", "site 2 (H/4)", "site 1 (H/2)")

    def __init__(self, teacher: PromptIR, name: str) -> None:
        config = teacher.config
        if config.prompt == "none":
            raise UserError(f"{name} has no prompts: there is nothing to report")
        self.teacher, self.name = teacher, name
        self.multiple = teacher.multiple
        names = tuple(f"prompt {i + 1}" for i in range(config.prompts))
        self.choices: tuple[tuple[str, ...], ...] = (names,) * 3
        soft = config.prompt == "soft" or (config.prompt == "dppd" and not config.dpa)
        self.selected = config.prompts if soft else config.top_k if config.prompt == "spm" else 1

    def restore(self, x_BCHW: Tensor) -> tuple[Tensor, Looks]:
        y_BCHW, routes = self.teacher(x_BCHW, None, True)
        return y_BCHW, tuple(Look(_array(r.p_BN[0]), _array(r.w_BN[0])) for r in routes)

    def targets(self, looks: Mapping[str, Sequence[Looks]]) -> dict[str, Any]:
        targets: dict[str, Any] = {}
        for label, images in looks.items():
            sites = [np.stack([look[site].w_N for look in images]) for site in range(3)]
            if self.selected == len(self.choices[0]):
                targets[label] = [w_IN.mean(0) for w_IN in sites]
            else:
                often = [(w_IN > 0).sum(0) + 1e-6 * w_IN.mean(0) for w_IN in sites]
                targets[label] = [np.argsort(-share_N)[: self.selected] for share_N in often]
        return targets

    def forced(self, x_BCHW: Tensor, looks: Looks, target: Any) -> Tensor:
        weights = []
        for look, wanted in zip(looks, target, strict=True):
            w_N = wanted
            if self.selected < len(look.w_N):
                w_N = np.zeros_like(look.w_N)
                w_N[wanted] = -np.sort(-look.w_N)[: self.selected]
            weights.append(torch.from_numpy(w_N[None]).to(x_BCHW))
        y_BCHW: Tensor = self.teacher(x_BCHW, weights)
        return y_BCHW


def open_network(model: str) -> Network:
    """Open a student by name or file, or a teacher by file.

    Args:
        model: name of a shipped student, or a ``.safetensors`` file.

    Raises:
        UserError: no such file, not weights, or a teacher without prompts.
    """
    path = Path(model)
    if path.suffix and path.suffix != ".safetensors":
        raise UserError(
            f"the prompt report reads weights, not {path.suffix} files: give the name of a shipped "
            "student or a .safetensors file"
        )
    path = student_path(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if teachers.is_teacher(path):
        return PromptedTeacher(teachers.load_teacher(path).to(device), path.name)
    return PromptedStudent(load_student(path).to(device), path.name)


def _array(x: Tensor) -> Floats:
    values: Floats = x.detach().cpu().double().numpy()
    return values
