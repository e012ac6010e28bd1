"""Optimisers and learning rate of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer

from cpl_edge.train.muon import Muon
from cpl_edge.train.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up over one or more cosines from ``lr`` to ``lr_end``, the last step's rate."""
    cycle = step / recipe.steps * recipe.restarts
    progress = cycle - min(int(cycle), recipe.restarts - 1)
    rise = min(1.0, (step + 1) / max(1.0, recipe.warmup * recipe.steps))
    height = (recipe.lr - recipe.lr_end) * rise * 0.5 * (1 + math.cos(math.pi * progress))
    return recipe.lr_end + height


def build_optimisers(network: nn.Module, recipe: Recipe, last: str) -> list[Optimizer]:
    """AdamW for all, or Muon for convolution weights and AdamW for the rest, if there is any.

    Depthwise convolutions are left to AdamW: a (C, 9) matrix of unrelated filters has nothing to
    be orthogonal to.

    Args:
        network: on its device.
        recipe: says which, and how.
        last: name of the convolution that makes the image; AdamW's, too, as is one of that name
            that a degradation owns.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    muon: list[Optimizer] = []
    if recipe.optimiser == "muon":
        convolutions = [
            module.weight
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d) and module.groups == 1
            if name != last and not (name.startswith("own.") and name.endswith(f".{last}"))
            if module.weight.requires_grad
        ]
        chosen = {id(weight) for weight in convolutions}
        parameters = [p for p in parameters if id(p) not in chosen]
        muon = [Muon(convolutions, lr=recipe.lr)] if convolutions else []
    if not parameters:  # trained convolutions without biases leave it none
        return muon
    # One kernel for all parameters where there is a GPU.
    speed: Mapping[str, bool] = {"fused" if parameters[0].is_cuda else "foreach": True}
    adam = torch.optim.AdamW(
        parameters, lr=recipe.lr, betas=recipe.betas, weight_decay=0.0, **speed
    )
    return [*muon, adam]
