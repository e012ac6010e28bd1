"""CPL's contrastive prompt regularisation (CPR): a wrong prompt must restore differently.

    L = L_reconstruction - weight * sum_j sum_l lambda_l * mean |n(phi_l(y)) - n(phi_l(y_j))|

y is the restoration with the prompts that the routers selected, y_1..y_K are restorations of the
same image with wrong ones, n gives every pixel's feature unit length over the channels, and phi_l
are the layers of `features.py`. No gradient flows through a negative: y is pushed away from what
the network gives now, and the wrong prompts learn nothing.

Source: Wu et al., "Beyond Degradation Redundancy: Contrastive Prompt Learning for All-in-One Image
Restoration" (2025), section CPR. Inferred here, because the paper is silent or its code does not
run: the weight (0.001 / K, as in an earlier work of the authors); that "wrong" means wrong for
what the routers said in the positive forward, not for what they say while a site before them is
already misled; and the negatives' weights other than "router".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cpl_edge.errors import UserError
from cpl_edge.losses.features import FeatureExtractor
from cpl_edge.models.promptir import Features, PromptIR, Route
from cpl_edge.models.prompts import NegativeWeight, SparsePrompt


class ContrastiveRegularisation:
    """The term that CPR adds to the loss.

    Args:
        features: phi and lambda, on the network's device.
        negatives: K, wrong restorations of each image.
        weight: factor of the sum; None for 0.001 / K.
        negative_weight: what wrong prompts weigh, see `SparsePrompt.negative`.
        batched: restore the K negatives in one pass of the decoder over K times the batch, instead
            of one after another. The result is the same; it is faster and holds the activations of
            one decoder block K times.

    Raises:
        UserError: there is less than one negative.
    """

    def __init__(
        self,
        features: FeatureExtractor,
        negatives: int = 4,
        weight: float | None = None,
        negative_weight: NegativeWeight = "router",
        batched: bool = True,
    ) -> None:
        if negatives < 1:
            raise UserError(f"{negatives} negatives: choose 1 or more")
        self.features = features
        self.negatives = negatives
        self.weight = 0.001 / negatives if weight is None else weight
        self.negative_weight: NegativeWeight = negative_weight
        self.batched = batched

    def __call__(
        self,
        model: PromptIR,
        x_BCHW: Tensor,
        encoded: Features | None,
        y_BCHW: Tensor,
        routes: Sequence[Route],
        generator: torch.Generator,
    ) -> Tensor:
        """The term for one batch, to be added to the loss.

        Args:
            model: a network with sparse prompts.
            x_BCHW: degraded images.
            encoded: what `model.encode(x_BCHW)` gave; None to compute it again.
            y_BCHW: the restorations, with their graph.
            routes: what `model.decode` gave beside them.
            generator: source of the wrong prompts.

        Returns:
            A scalar, at most 0 for a positive weight: the farther y is from the wrong
            restorations, the smaller.

        Raises:
            UserError: the network's prompts are not sparse.
        """
        wrong = self.wrong_restorations(model, x_BCHW, encoded, routes, generator)
        return self.term(y_BCHW, wrong)

    @torch.no_grad()
    def wrong_restorations(
        self,
        model: PromptIR,
        x_BCHW: Tensor,
        encoded: Features | None,
        routes: Sequence[Route],
        generator: torch.Generator,
    ) -> list[Tensor]:
        """The K restorations y_j, each of the shape of x; arguments as in `__call__`."""
        k = self.negatives
        if encoded is None:
            encoded = model.encode(x_BCHW)
        drawn_3LN = [
            self._draw(site, route, generator)
            for site, route in zip(model.sites, routes, strict=True)
        ]  # L = K * B: all images with their first negative, then all with their second...
        if self.batched:
            many = Features(*(torch.cat([level_BCHW] * k) for level_BCHW in encoded))
            y_LCHW, _ = model.decode(torch.cat([x_BCHW] * k), many, drawn_3LN)
            return list(y_LCHW.chunk(k))
        drawn_3KBN = [w_LN.chunk(k) for w_LN in drawn_3LN]
        return [
            model.decode(x_BCHW, encoded, [w_KBN[j] for w_KBN in drawn_3KBN])[0] for j in range(k)
        ]

    def term(self, y_BCHW: Tensor, wrong: Sequence[Tensor]) -> Tensor:
        """The term for restorations and their wrong counterparts, whichever network made them.

        Args:
            y_BCHW: restorations, with their graph.
            wrong: K tensors of the same shape; no gradient reaches them.
        """
        right = self._directions(y_BCHW)
        total = y_BCHW.new_zeros((), dtype=torch.float32)
        for y_j_BCHW in wrong:
            with torch.no_grad():
                other = self._directions(y_j_BCHW)
            layers = zip(self.features.layer_weights, right, other, strict=True)
            for lambda_l, right_BCHW, other_BCHW in layers:
                total = total + lambda_l * (right_BCHW - other_BCHW).abs().mean()
        return -self.weight * total

    def _draw(self, site: torch.nn.Module, route: Route, generator: torch.Generator) -> Tensor:
        if not isinstance(site, SparsePrompt):
            raise UserError('contrastive regularisation needs sparse prompts: choose prompt "spm"')
        p_LN = torch.cat([route.p_BN] * self.negatives)
        return site.negative(p_LN, generator, self.negative_weight)

    def _directions(self, y_BCHW: Tensor) -> list[Tensor]:
        """n(phi_l(y)), in float32: 1e-12, the smallest length, is 0 in float16."""
        return [F.normalize(feature.float(), dim=1) for feature in self.features(y_BCHW)]
