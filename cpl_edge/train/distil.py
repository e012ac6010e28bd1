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
Then p_T over the assigned prompts, renormalised, is the target of the student's router.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.losses.reconstruction import frequency_complex, l1
from cpl_edge.models.promptir import Route
from cpl_edge.models.teachers import load_teacher
from cpl_edge.train.recipe import Distillation, StudentRecipe
from cpl_edge.train.task import StudentTask, middle_of


class DistilTask(StudentTask):
    """A student with a frozen teacher.

    Raises:
        UserError: the teacher cannot be read, or its prompts cannot be matched.
    """

    def __init__(self, recipe: StudentRecipe, distil: Distillation) -> None:
        super().__init__(recipe)
        self.distil = distil
        self.teacher = load_teacher(Path(distil.teacher)).requires_grad_(False)
        self.matching: PromptMatching | None = None
        if distil.routing:
            config = self.teacher.config
            self.matching = PromptMatching(
                sites=len(self.teacher.sites),
                prompts=0 if config.prompt == "none" else config.prompts,
                degradations=len(self.degradations),
            )
        self.maps: dict[str, Tensor] = {}
        if distil.feature:
            # By size: half, quarter. The student's middle may be empty, its "up" is not.
            self._keep("y1", self.network.tail)
            self._keep("y2", self.network.up)
            self._keep("t1", self.teacher.site1)
            self._keep("t2", self.teacher.site2)

    def _keep(self, name: str, module: nn.Module) -> None:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.maps[name] = inputs[0]

        module.register_forward_pre_hook(keep)

    def train(self, mode: bool = True) -> DistilTask:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        restored, logits_BSL = self.restore(x_BCHW, label_B, crop)
        total, parts = self.losses(restored, logits_BSL, middle_of(y_BCHW, crop), label_B)
        with torch.no_grad(), self.autocast(x_BCHW.device):
            taught, routes = self.teacher(middle_of(x_BCHW, crop), None, True)
        distil, terms = self.distil, {}
        if distil.output:
            terms["output"] = l1(restored, taught)
        if distil.frequency:
            terms["frequency"] = frequency_complex(restored, taught)
        if distil.feature:
            pairs = (("y1", "t1"), ("y2", "t2"))
            maps = [(attention(self.maps[y]), attention(self.maps[t])) for y, t in pairs]
            terms["feature"] = torch.stack([l1(y, t) for y, t in maps]).sum()
            self.maps.clear()
        if self.matching:
            self.matching.observe(routes, label_B)
            names_BD = logits_BSL[:, 0, : len(self.degradations)]
            terms["transfer"] = self.matching.divergence(routes, names_BD)
        weights = {"output": distil.output, "frequency": distil.frequency,
                   "feature": distil.feature, "transfer": distil.routing}  # fmt: skip
        for name, term in terms.items():
            total = total + weights[name] * term
        return total, parts | terms

    def extra_state(self) -> dict[str, Any]:
        return dict(self.matching.state_dict()) if self.matching else {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        if self.matching:
            self.matching.load_state_dict(state)


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

    Raises:
        UserError: there are fewer prompts than degradations, or too many to try.
    """

    together_SND: Tensor
    orders_OD: Tensor

    def __init__(self, sites: int, prompts: int, degradations: int) -> None:
        super().__init__()
        if not degradations <= prompts <= 8:
            raise UserError(
                f"{prompts} prompts of the teacher cannot be matched with {degradations} "
                "degradations: leave routing out, or take a teacher with as many, at most 8"
            )
        self.register_buffer("together_SND", torch.zeros(sites, prompts, degradations))
        orders = torch.tensor(list(permutations(range(prompts), degradations)))
        self.register_buffer("orders_OD", orders, persistent=False)

    @torch.no_grad()
    def observe(self, routes: list[Route], label_B: Tensor, momentum: float = 0.99) -> None:
        """Count with which degradation (its index) which prompt came."""
        p_SBN = torch.stack([route.p_BN.float() for route in routes])
        truth_BD = F.one_hot(label_B, self.together_SND.shape[2]).float()
        now_SND = p_SBN.mT @ truth_BD / len(label_B)
        self.together_SND.lerp_(now_SND, 1 - momentum)

    def match(self) -> Tensor:
        """The prompt of each degradation at each site, ``prompt_SD``."""
        columns_D = torch.arange(self.orders_OD.shape[1], device=self.orders_OD.device)
        score_SO = self.together_SND[:, self.orders_OD, columns_D].sum(2)
        prompt_SD: Tensor = self.orders_OD[score_SO.argmax(1)]
        return prompt_SD

    def divergence(self, routes: list[Route], names_BD: Tensor) -> Tensor:
        """KL between the teacher's routers and the student's logits, mean over sites and images."""
        p_SBN = torch.stack([route.p_BN.float() for route in routes])
        index_SBD = self.match()[:, None].expand(-1, len(names_BD), -1)
        target_SBD = p_SBN.gather(2, index_SBD) + 1e-8
        target_SBD = target_SBD / target_SBD.sum(2, keepdim=True)
        log_p_SBD = names_BD.float().log_softmax(1).expand_as(target_SBD)
        divergence: Tensor = (target_SBD * (target_SBD.log() - log_p_SBD)).sum(2).mean()
        return divergence
