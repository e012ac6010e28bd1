"""Muon for convolution weights: momentum whose update is orthogonalised.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum
of a weight matrix is replaced by the nearest semi-orthogonal matrix, found by five Newton-Schulz
steps. ``torch.optim.Muon`` takes 2-D tensors only; a convolution weight is used as the matrix
(out, in * kh * kw), and all weights of one shape go through the iteration as one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix_BRC: Tensor, steps: int = 5) -> Tensor:
    """Push all singular values of each matrix close to 1 (to about 0.7-1.2), in bf16.

    Args:
        matrix_BRC: batch of matrices.
        steps: Newton-Schulz iterations.

    Returns:
        Matrices of the same shape and type.
    """
    rows, columns = matrix_BRC.shape[-2:]
    x = matrix_BRC.mT if rows > columns else matrix_BRC
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-9)).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.to(matrix_BRC.dtype)
    out: Tensor = x.mT if rows > columns else x
    return out


class Muon(Optimizer):
    """Muon with Nesterov momentum; the update has AdamW's usual size (0.2 RMS).

    Args:
        params: tensors of two or more dimensions.
        lr: learning rate.
        momentum: decay of the momentum buffer.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 2e-3, momentum: float = 0.95) -> None:
        params = list(params)
        if small := [tuple(p.shape) for p in params if p.ndim < 2]:
            raise ValueError(f"Muon takes matrices and convolution weights, not {small[0]}")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            same_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for parameters in same_shape.values():
                self._step_batch(parameters, group)

    def _step_batch(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            updates.append(gradient.lerp(state["momentum"], group["momentum"]).flatten(1))
        update_BRC = orthogonalise(torch.stack(updates))
        size = 0.2 * max(update_BRC.shape[-2:]) ** 0.5 * group["lr"]
        for parameter, update_RC in zip(parameters, update_BRC, strict=True):
            parameter.sub_(update_RC.reshape(parameter.shape), alpha=size)
