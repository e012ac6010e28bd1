"""Training on several processes, as ``torchrun`` starts them: what one must know of the others.

torch.distributed itself and no framework above it: with one process nothing here does anything, so
one GPU or a CPU runs the very same steps as without this file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from cpl_edge.errors import UserError
from cpl_edge.train.task import Task

if TYPE_CHECKING:
    from cpl_edge.train.sharding import Shards


@dataclass(frozen=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: this process's number; 0 writes the files.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def share(self, batch: int) -> int:
        """This process's part of a batch.

        Raises:
            UserError: the batch cannot be shared evenly.
        """
        if batch % self.count:
            raise UserError(f"a batch of {batch} cannot be shared by {self.count} processes")
        return batch // self.count

    def wrap(self, module: nn.Module, device: torch.device, uneven: bool = False) -> nn.Module:
        """The module, with gradients averaged over the processes.

        Args:
            module: to share.
            device: where it lies.
            uneven: whether a step may use a part only of it.
        """
        if self.count == 1:
            return module
        return DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=uneven,
        )

    def shard(self, task: Task, average: AveragedModel | None) -> Shards | None:
        """Shard the network and its running mean, where the recipe says so and there are several.

        Args:
            task: says with ``parallel`` whether to; its network is changed in place.
            average: the running mean, or None.
        """
        if self.count == 1 or task.parallel != "fsdp":
            return None
        from cpl_edge.train.sharding import Shards  # loads much of torch.distributed

        return Shards(task, average, self.count)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes, the same in all of them."""
        if self.count > 1:
            dist.all_reduce(values)
            values = values / self.count
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.count == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=device)) > 0)

    def wait(self) -> None:
        """Go on once all processes are here."""
        if self.count > 1:
            dist.barrier()

    def stack(self, value: Tensor) -> Tensor:
        """All processes' tensors of one shape on the CPU, a row each, in the order of ranks."""
        if self.count == 1:
            return value[None]
        rows: list[Tensor] = [value] * self.count
        dist.all_gather_object(rows, value)
        return torch.stack(rows)


@contextmanager
def join_processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that ``torchrun`` started; alone where there are none.

    Args:
        device: ``cpu`` or ``cuda``; each process of a machine takes a GPU of its own.

    Yields:
        The processes, and the device of this one.

    Raises:
        UserError: more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), torch.device(device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"{torch.cuda.device_count()} GPUs: start as many processes on each")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        place = torch.device(device, local) if device == "cuda" else torch.device(device)
        yield Processes(dist.get_rank(), count), place
    finally:
        dist.destroy_process_group()
