"""Rounding a convolution's weights so that what it makes changes least, instead of each weight.

Neighbouring pixels are alike, so errors of one sign add up in a sum over them, and errors of
opposite signs cancel. With the second moments H of the patches that a convolution reads, rounding
its weights to q costs ``(q - w)' H (q - w)`` in the mean. Weights are rounded one after the other,
and those that are left make good for the error: GPTQ (Frantar et al., ICLR 2023, section 3), with
the same order for all output channels.

Steps stay those of rounding to the nearest, so that every target's quantiser finds these weights
on its own grid. Legend: R output channels, K weights of each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import Student
from cpl_edge.quantize.folding import run_watched

_POSITIONS, _PATCHES = 2048, 81_920  # patches of a crop, and of all: a hundred times K
_DAMPING = 1e-3  # of the mean second moment: patches that no crop showed cost something too
_MOST = 127


def fit_rounding(student: Student, crops: Sequence[Tensor], kept: Collection[str] = ()) -> Student:
    """A student whose convolutions have weights of 8 bits, but for the router's.

    Args:
        student: in evaluation mode; it is not changed.
        crops: ``x_BCHW``, RGB in [0, 1], which it selects prompts for.
        kept: modules that stay as they are.

    Returns:
        A copy.
    """
    student = copy.deepcopy(student)
    convs = {
        name: module
        for name, module in student.named_modules()
        if isinstance(module, nn.Conv2d)
        and not any(f"{name}.".startswith(f"{other}.") for other in ("router", *kept))
    }
    moments = _moments(student, convs, crops)
    with torch.no_grad():
        for name, conv in convs.items():
            rounded_RK = round_to_moments(conv.weight.flatten(1), moments[name])
            conv.weight.copy_(rounded_RK.view_as(conv.weight))
    return student


def round_to_moments(w_RK: Tensor, h_KK: Tensor) -> Tensor:
    """Multiples of each row's step, -127...127 of them, that change its products little.

    Args:
        w_RK: weights.
        h_KK: second moments of what they are multiplied with.

    Returns:
        ``q_RK``; the largest weight of a row stays as it is, since it decides the step.
    """
    w_RK, h_KK = w_RK.double(), h_KK.double()
    damping = _DAMPING * h_KK.diagonal().mean().clamp(min=1e-12)
    h_KK = h_KK + damping * torch.eye(len(h_KK), dtype=h_KK.dtype)
    order_K = h_KK.diagonal().argsort(descending=True)  # what is read loudest is rounded first
    inverse_KK = torch.linalg.inv(h_KK[order_K][:, order_K])
    factor_KK = torch.linalg.cholesky(inverse_KK, upper=True)
    step_R = w_RK.abs().amax(1).clamp(min=1e-12) / _MOST
    left_RK, q_RK = w_RK[:, order_K].clone(), torch.zeros_like(w_RK)
    for k in range(w_RK.shape[1]):
        rounded_R = (left_RK[:, k] / step_R).round().clamp(-_MOST, _MOST) * step_R
        error_R = (left_RK[:, k] - rounded_R) / factor_KK[k, k]
        left_RK[:, k:] -= error_R[:, None] * factor_KK[k, k:]
        q_RK[:, order_K[k]] = rounded_R
    largest_R1 = w_RK.abs().argmax(1, keepdim=True)
    return q_RK.scatter(1, largest_R1, w_RK.gather(1, largest_R1)).float()


def _moments(
    student: Student, convs: dict[str, nn.Conv2d], crops: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Second moments ``h_KK`` of the patches that each convolution reads."""
    moments = {name: torch.zeros(()) for name in convs}
    generator = torch.Generator().manual_seed(0)
    count = min(_POSITIONS, _PATCHES // len(crops))

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, nn.Conv2d)
            rows, columns = (int(n) for n in module.padding)
            windows_BCHWkk = F.pad(inputs[0], (columns, columns, rows, rows))
            for axis, size, stride in zip((2, 3), module.kernel_size, module.stride, strict=True):
                windows_BCHWkk = windows_BCHWkk.unfold(axis, size, stride)
            height, width = windows_BCHWkk.shape[2:4]
            chosen = torch.randint(height * width, (count,), generator=generator)
            patches_CLkk = windows_BCHWkk[0, :, chosen // width, chosen % width]
            patches_KL = patches_CLkk.permute(0, 2, 3, 1).flatten(0, 2)
            moments[name] = moments[name] + patches_KL @ patches_KL.T

        return hook

    handles = [conv.register_forward_pre_hook(watch(name)) for name, conv in convs.items()]
    run_watched(student, crops, handles)
    return {name: value.clone() for name, value in moments.items()}
