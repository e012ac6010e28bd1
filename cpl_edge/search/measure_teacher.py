"""What a teacher does to the held-out crops of a search.

Legend: B crops, N prompts of a site, P prompts of all sites.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cpl_edge.models.promptir import PromptIR
from cpl_edge.search.measure import Crops, mean_of, psnr, rounded
from cpl_edge.search.results import Figures


@torch.no_grad()
def measure_teacher(teacher: PromptIR, crops: Crops) -> Figures:
    """Restore all crops of a condition: as the sites' routers say, and with wrong prompts.

    Its prompts have no names, so it can be told nothing. Wrong ones, at every site the next instead
    of each selected one, exist where prompts are sparse.

    Args:
        teacher: in evaluation mode.
        crops: of one condition.
    """
    inputs, routed, wrong, weights = [], [], [], []
    for x_BCHW, y_BCHW in crops.batches():
        restored, routes = teacher(x_BCHW, None, True)
        inputs.append(psnr(x_BCHW, y_BCHW))
        routed.append(psnr(restored, y_BCHW))
        weights.append([route.w_BN for route in routes])
        if teacher.config.prompt == "spm":
            other = [route.w_BN.roll(1, 1) for route in routes]
            wrong.append(psnr(teacher(x_BCHW, other), y_BCHW))
    sites = [torch.cat(batches) for batches in zip(*weights, strict=True)]
    selected = [_shares(w_BN) for w_BN in sites]
    mean = [(w_BN / w_BN.sum(1, keepdim=True)).mean(0) for w_BN in sites]
    before = mean_of(inputs, 3)
    assert before is not None
    return Figures(
        condition=crops.condition.label,
        input=before,
        routed=mean_of(routed, 3),
        wrong=mean_of(wrong, 3),
        selected=rounded(torch.cat(selected)),
        weights=rounded(torch.cat(mean)),
    )


def _shares(w_BN: Tensor) -> Tensor:
    """On which share of the crops each prompt weighed most, ``share_N``."""
    if not w_BN.shape[1]:
        return w_BN[0]
    return w_BN.argmax(1).bincount(minlength=w_BN.shape[1]) / len(w_BN)
