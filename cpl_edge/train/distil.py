"""Distillation: what a student learns from a teacher beside the clean images.

    L = L_student + output * L1(y, y_T) + frequency * |F(y) - F(y_T)|
        + feature * sum_l mean |a_l - a_l,T| + routing * KL(p_T || p)

Every term has its own weight in the recipe, 0 leaves it out (inferred here; the papers distil
nothing). a is an attention map, n(mean_C(h^2)) with n the unit length over pixels, at half and at
quarter size of the decoders (Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR
2017): it needs no learned projection between 64 and 192 channels.

Routing transfer: the order of a teacher's prompts means nothing, so at each site each of the
student's D degradations is assigned one of the teacher's N prompts, such that as much probability
as possible lies on assigned pairs of (degradation, prompt), in a running mean over the batches.
Then p_T over the assigned prompts, renormalised, is the target of the student's router. A student
that teaches names the degradations itself.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.losses.reconstruction import frequency_complex, l1
from cpl_edge.models.student import Student
from cpl_edge.train.cache import Fields, LessonBank
from cpl_edge.train.recipe import Distillation, StudentRecipe
from cpl_edge.train.task import StudentTask, middle_of
from cpl_edge.train.tutors import decoder_places, open_tutor


class DistilTask(StudentTask):
    """A student with a frozen teacher.

    Where a degradation is ``untaught`` the clean image stands in for the teacher's restoration, so
    that a degradation weighs what it weighs elsewhere, and the student's own attention maps for the
    teacher's, from which nothing is learned.

    Raises:
        UserError: the teacher cannot be read, its prompts cannot be matched, or there is no one
            decoder to compare.
    """

    untaught_D: Tensor

    def __init__(self, recipe: StudentRecipe, distil: Distillation) -> None:
        super().__init__(recipe)
        self.distil = distil
        unknown = set(distil.untaught) - set(self.degradations)
        if unknown:
            raise UserError(
                f"untaught names {', '.join(sorted(unknown))}: this student knows "
                f"{', '.join(self.degradations)}"
            )
        untaught_D = torch.tensor([name in distil.untaught for name in self.degradations])
        self.register_buffer("untaught_D", untaught_D, persistent=False)
        self.tutor = open_tutor(distil.teacher, self.degradations)
        self.teacher = self.tutor.network
        self.matching: PromptMatching | None = None
        if distil.routing:
            self.matching = PromptMatching(
                self.tutor.sites,
                self.tutor.prompts,
                len(self.degradations),
                named=isinstance(self.teacher, Student),
            )
        self.lessons: LessonBank | None = None  # what the teacher answered before, if it did
        self.maps: dict[str, Tensor] = {}
        if distil.feature:
            for whose, network in (("y", self.network), ("t", self.teacher)):
                for size, module in zip("12", decoder_places(network), strict=True):
                    self._keep(f"{whose}{size}", module)

    def _keep(self, name: str, module: nn.Module) -> None:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.maps.setdefault(name, inputs[0])  # the first: CPR's wrong passes come later

        module.register_forward_pre_hook(keep)

    def train(self, mode: bool = True) -> DistilTask:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.maps.clear()
        restored, logits_BSL, total, parts = self.learn(x_BCHW, y_BCHW, label_B, crop, generator)
        answers = self.lessons.answers if self.lessons else self.ask(x_BCHW, crop, label_B)
        distil, terms = self.distil, {}
        alone_B = self.untaught_D[label_B]
        clean_BCHW = middle_of(y_BCHW, crop)
        taught_BCHW = torch.where(alone_B[:, None, None, None], clean_BCHW, answers["taught"])
        if distil.output:
            terms["output"] = l1(restored, taught_BCHW)
        if distil.frequency:
            terms["frequency"] = frequency_complex(restored, taught_BCHW)
        if distil.feature:
            pairs = [(attention(self.maps[y]), answers[t]) for y, t in (("y1", "t1"), ("y2", "t2"))]
            maps = [(y, torch.where(alone_B[:, None], y.detach(), t)) for y, t in pairs]
            terms["feature"] = torch.stack([l1(y, t) for y, t in maps]).sum()
            self.maps.clear()
        if self.matching:
            self.matching.observe(answers["p_SBN"], label_B)
            names_BD = logits_BSL[:, 0, : len(self.degradations)]
            terms["transfer"] = self.matching.divergence(answers["p_SBN"], names_BD)
        weights = {"output": distil.output, "frequency": distil.frequency,
                   "feature": distil.feature, "transfer": distil.routing}  # fmt: skip
        for name, term in terms.items():
            total = total + weights[name] * term
        return total, parts | terms

    @torch.no_grad()
    def ask(self, x_BCHW: Tensor, crop: int, label_B: Tensor) -> Fields:
        """What the teacher says about crops, as far as the recipe's terms need it.

        Args:
            x_BCHW: degraded crops with their context.
            crop: side of their middle, which is restored.
            label_B: index of the degradation.

        Returns:
            ``taught``, its restorations; ``t1`` and ``t2``, its attention maps at half and quarter
            size; ``p_SBN``, its routers' probabilities.
        """
        with self.autocast(x_BCHW.device):
            taught, p_SBN = self.tutor.answer(x_BCHW, crop, label_B)
        answers = {"taught": taught}
        if self.distil.feature:
            answers |= {name: attention(self.maps.pop(name)) for name in ("t1", "t2")}
        if self.matching:
            answers["p_SBN"] = p_SBN
        return answers

    def extra_state(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(self.matching.state_dict()) if self.matching else {}
        return state | {"taken": self.lessons.taken} if self.lessons else state

    def load_extra_state(self, state: dict[str, Any]) -> None:
        if self.lessons:
            self.lessons.taken = state["taken"]
        if self.matching:
            own = {name: value for name, value in state.items() if name != "taken"}
            self.matching.load_state_dict(own)


def attention(h_BCHW: Tensor) -> Tensor:
    """Where a feature is strong: its mean square over channels, of unit RMS over the pixels."""
    power_BP = h_BCHW.float().square().mean(1).flatten(1)
    map_BP: Tensor = F.normalize(power_BP) * power_BP.shape[1] ** 0.5
    return map_BP


class PromptMatching(nn.Module):
    """Which of the teacher's prompts stands for which degradation, at each of its sites.

    All assignments are tried (5 to 5: 120), as one indexing on the device: no step waits.

    Args:
        sites: S, of the teacher.
        prompts: N, of each site.
        degradations: D, of the student.
        named: the prompts are these degradations, in this order: nothing is to be found out.

    Raises:
        UserError: there are fewer prompts than degradations, or too many to try.
    """

    together_SND: Tensor
    orders_OD: Tensor

    def __init__(self, sites: int, prompts: int, degradations: int, named: bool = False) -> None:
        super().__init__()
        if not degradations <= prompts <= 8:
            raise UserError(
                f"{prompts} prompts of the teacher cannot be matched with {degradations} "
                "degradations: leave routing out, or take a teacher with as many, at most 8"
            )
        self.register_buffer("together_SND", torch.zeros(sites, prompts, degradations))
        every = (
            [tuple(range(degradations))] if named else permutations(range(prompts), degradations)
        )
        orders = torch.tensor(list(every))
        self.register_buffer("orders_OD", orders, persistent=False)

    @torch.no_grad()
    def observe(self, p_SBN: Tensor, label_B: Tensor, momentum: float = 0.99) -> None:
        """Count with which degradation (its index) which prompt came."""
        truth_BD = F.one_hot(label_B, self.together_SND.shape[2]).float()
        now_SND = p_SBN.mT @ truth_BD / len(label_B)
        self.together_SND.lerp_(now_SND, 1 - momentum)

    def match(self) -> Tensor:
        """The prompt of each degradation at each site, ``prompt_SD``."""
        columns_D = torch.arange(self.orders_OD.shape[1], device=self.orders_OD.device)
        score_SO = self.together_SND[:, self.orders_OD, columns_D].sum(2)
        prompt_SD: Tensor = self.orders_OD[score_SO.argmax(1)]
        return prompt_SD

    def divergence(self, p_SBN: Tensor, names_BD: Tensor) -> Tensor:
        """KL between the teacher's routers and the student's logits, mean over sites and images."""
        index_SBD = self.match()[:, None].expand(-1, len(names_BD), -1)
        target_SBD = p_SBN.gather(2, index_SBD) + 1e-8
        target_SBD = target_SBD / target_SBD.sum(2, keepdim=True)
        log_p_SBD = names_BD.float().log_softmax(1).expand_as(target_SBD)
        divergence: Tensor = (target_SBD * (target_SBD.log() - log_p_SBD)).sum(2).mean()
        return divergence
