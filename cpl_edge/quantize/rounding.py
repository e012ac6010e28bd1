"""Rounding to integers as 8-bit targets do it, with gradients that pass straight through.

A rounding has no useful gradient, so the backward pass takes it for the identity between the ends
of its range and for a constant beyond (Bengio et al., "Estimating or Propagating Gradients Through
Stochastic Neurons", 2013). The ends of a range get the gradients of LSQ (Esser et al., "Learned
Step Size Quantization", ICLR 2020, section 2), written for both ends instead of a step, as in LSQ+
(Bhalgat et al., CVPR Workshops 2020).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LEAST_STEP = 1e-12

Bound = float | Tensor
"""An end of a range: a number, or a tensor of no dimensions that is trained."""


def round_activations(value: Tensor, low: Bound, high: Bound, bits: int = 8) -> Tensor:
    """Round to ``2**bits`` steps from low to high (widened to hold 0), and clip.

    Args:
        value: of any shape.
        low: smallest value that is held; 0 if it is positive.
        high: largest value that is held; 0 if it is negative.
        bits: of the integers.

    Returns:
        Multiples of one step, with gradients for the value and for ends that are tensors.
    """
    rounded: Tensor = _RoundActivations.apply(value, low, high, bits)  # type: ignore[no-untyped-call]
    return rounded


def round_weights(weight: Tensor) -> Tensor:
    """Round a convolution's weights to -127...127 steps, a step for each output channel.

    Args:
        weight: ``(out, in, rows, columns)``.
    """
    largest = weight.detach().abs().amax((1, 2, 3), keepdim=True)
    step = largest.clamp(min=_LEAST_STEP) / 127
    rounded = torch.round(weight.detach() / step) * step
    return weight + (rounded - weight.detach()) if weight.requires_grad else rounded


def _rounded(value: Tensor, low: float, high: float, bits: int) -> Tensor:
    low, high, most = min(low, 0.0), max(high, 0.0), 2**bits - 1
    step = max((high - low) / most, _LEAST_STEP)
    below = min(most, round(-low / step))
    steps: Tensor = (value * (1 / step)).round_().clamp_(-below, most - below)
    return steps.mul_(step)


class _RoundActivations(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: Bound, high: Bound, bits: int) -> Tensor:
        ctx.ends = (float(low), float(high))
        rounded = _rounded(value, float(low), float(high), bits)
        ctx.save_for_backward(value, rounded)
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, rounded = ctx.saved_tensors
        low, high = ctx.ends
        inside = torch.ops.aten.hardtanh_backward(gradient, value, low, high)
        if not any(ctx.needs_input_grad[1:3]):
            return inside, None, None, None
        # Between the ends, moving one of them changes the step and with it what rounding does.
        change = ((rounded - value) * inside).sum() / max(high - low, _LEAST_STEP)
        beyond = gradient - inside
        above = torch.ops.aten.threshold_backward(beyond, value, 0.0).sum()
        return inside, beyond.sum() - above - change, above + change, None
