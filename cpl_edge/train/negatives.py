"""CPL's contrastive prompt regularisation (CPR) for a student: other prompts restore differently.

The loss is that of a teacher (:mod:`cpl_edge.losses.contrastive`); what is wrong differs. A teacher
has three sites that draw prompts apart from one another. A student has one selection: with
``levels`` prompts that of a degradation, so a wrong restoration takes the prompts of a degradation
that was not selected, with the levels that the router gives it; with ``sparse`` prompts it takes
another prompt.

The K wrong choices of an image all differ. What was selected is the true degradation where labels
select in training, else what the router chose, as in CPL, even where the router was wrong.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.losses.contrastive import ContrastiveRegularisation
from cpl_edge.losses.features import FilterBank, Vgg16Features
from cpl_edge.models.prompts import NegativeWeight
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.train.recipe import StudentRecipe


class StudentContrast(nn.Module):
    """CPR's term for students of one shape.

    Args:
        recipe: whose ``negatives`` is K, 1 or more.
        config: of the student.

    Raises:
        UserError: the student's prompts do not exclude one another, or are fewer than 1 + K; or
            the recipe's VGG file cannot be used.
    """

    def __init__(self, recipe: StudentRecipe, config: StudentConfig) -> None:
        super().__init__()
        k = recipe.negatives
        if config.prompt not in ("levels", "sparse"):
            raise UserError(
                f"negatives = {k} needs prompts of which one is selected, not "
                f'{config.prompt!r}: choose prompt = "levels" or "sparse", or negatives = 0'
            )
        levels = config.prompt == "levels"
        choices = len(config.degradations) if levels else config.prompts
        if k >= choices:
            what = "degradations" if levels else "prompts"
            raise UserError(
                f"negatives = {k}: of {choices} {what} one is right, choose at most {choices - 1}"
            )
        if levels and recipe.negative_weight != "router":
            raise UserError(
                'negative_weight is for prompt = "sparse": with "levels" a wrong degradation\'s '
                "prompts always sum to 1, leave it out"
            )
        self.negatives = k
        self.negative_weight: NegativeWeight = recipe.negative_weight
        # A module of its own: frozen, but moved to the device with the rest.
        self.features = Vgg16Features(Path(recipe.vgg)) if recipe.vgg else FilterBank()
        # Its weight is applied by the task, so that the log shows the distance itself.
        self.regularisation = ContrastiveRegularisation(self.features, k, 1.0)

    @torch.no_grad()
    def wrong_weights(
        self,
        network: Student,
        logits_BSL: Tensor,
        selected_B: Tensor,
        generator: Generator,
    ) -> Tensor:
        """Weights ``w_LSN`` of wrong prompts.

        Args:
            network: the student.
            logits_BSL: of its router.
            selected_B: index of the degradation (``levels``) or of the prompt (``sparse``) that
                was selected.
            generator: source of the choice.

        Returns:
            L = K * B rows: all images with their first negative, then all with their second...
        """
        k = self.negatives
        wrong_L = draw_others(selected_B, k, network.choices(logits_BSL).shape[-1], generator)
        many_LSN = torch.cat([logits_BSL] * k)
        if network.config.prompt == "levels":
            return network.forced(many_LSN, wrong_L)
        p_LSN = many_LSN.softmax(-1)
        one_hot_LSN = F.one_hot(wrong_L, p_LSN.shape[-1])[:, None].to(p_LSN.dtype)
        if self.negative_weight == "router":
            return one_hot_LSN * p_LSN
        if self.negative_weight == "selected":
            return one_hot_LSN * p_LSN.amax(-1, keepdim=True)
        return one_hot_LSN

    @torch.no_grad()
    def wrong_restorations(
        self,
        network: Student,
        x_BCHW: Tensor,
        logits_BSL: Tensor,
        selected_B: Tensor,
        generator: Generator,
    ) -> list[Tensor]:
        """The K restorations, each of the shape of x, in one pass; arguments as above."""
        w_LSN = self.wrong_weights(network, logits_BSL, selected_B, generator)
        y_LCHW = network.restore(torch.cat([x_BCHW] * self.negatives), w_LSN)
        return list(y_LCHW.chunk(self.negatives))

    def term(self, y_BCHW: Tensor, wrong: list[Tensor]) -> Tensor:
        """Minus the distance between restorations and wrong ones, summed over layers and K."""
        return self.regularisation.term(y_BCHW.float(), [y_j.float() for y_j in wrong])


def draw_others(selected_B: Tensor, count: int, choices: int, generator: Generator) -> Tensor:
    """Draw what was not selected, for every image on its own; its draws all differ.

    Args:
        selected_B: index of what was selected.
        count: K, below ``choices``.
        choices: how many there are.
        generator: on the device of ``selected_B``.

    Returns:
        Indices, ``K * B``: first draws of all images, then the second ones...
    """
    shape = (len(selected_B), choices - 1)
    order = torch.rand(shape, generator=generator, device=selected_B.device).argsort(1)
    other_BK = order[:, :count]
    other_BK = other_BK + (other_BK >= selected_B[:, None]).long()  # leaves a gap at selected
    return other_BK.T.flatten()
