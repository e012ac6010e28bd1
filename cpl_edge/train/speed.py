"""What a recipe's words about speed and averaging switch on in torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cpl_edge.train.task import Task


def set_precision(precision: str, device: torch.device) -> None:
    """Let a GPU use its matrix units for float32 (``tf32``, ``bf16``), or not (``fp32``)."""
    if device.type != "cuda":
        return
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True


def compile_network(task: Task, how: str) -> None:
    """Compile the parts of the network that run in training, in place.

    Args:
        task: says which parts.
        how: ``no``; ``blocks``: the repeated block, once for each size that it runs at;
            ``network``: whole functions.
    """
    if how == "no":
        return
    # One block runs at many sizes: levels, sites, with and without gradients, CPR's larger batch.
    torch._dynamo.config.recompile_limit = 64
    if how == "blocks":
        for module in task.network.modules():
            if isinstance(module, task.block):
                module.compile(dynamic=False)
    else:
        for name in task.compiled:
            function = torch.compile(getattr(task.network, name), dynamic=False)
            setattr(task.network, name, function)


def uncompiled(how: str) -> AbstractContextManager[object]:
    """Run without compiling for sizes that training does not have; ``how`` as above."""
    return nullcontext() if how == "no" else torch.compiler.set_stance("force_eager")


def running_mean(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network that follows its weights (EMA); buffers are copied.

    The decay rises to ``decay`` as (1 + n) / (10 + n), so that a short run does not keep its
    random start.
    """

    def update(
        mean: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        count: Tensor | int,
    ) -> None:
        n = int(average.n_averaged)  # on the CPU; for "count", on the GPU, each step would wait
        torch._foreach_lerp_(mean, current, 1 - min(decay, (1 + n) / (10 + n)))

    average = AveragedModel(network, multi_avg_fn=update)
    return average
