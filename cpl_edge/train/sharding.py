"""Fully sharded training: each process holds its part of the weights, and of all that is as large.

FSDP2 (``torch.distributed.fsdp.fully_shard``; Zhao et al., "PyTorch FSDP: Experiences on Scaling
Fully Sharded Data Parallel", VLDB 2023): weights, gradients, the optimisers' state and the running
mean are cut along their first dimension, and a block's weights are put together for as long as it
runs. What leaves this file is whole: a checkpoint is that of one process, a network that is
validated or saved a plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from cpl_edge.train.task import Task


class Shards:
    """Shards a task's network and its running mean, in place; all processes must call each method.

    Args:
        task: on its device, the same in all processes.
        average: a running mean of its network, or None.
        count: of processes.
    """

    def __init__(self, task: Task, average: AveragedModel | None, count: int) -> None:
        self.network, self.average = task.network, average
        device = next(task.network.parameters()).device
        self.plain = deepcopy(task.network).to("meta")  # shapes alone; what is sharded has no copy
        self.mesh = init_device_mesh(device.type, (count,))
        for module in (task.network, average):
            for parameter in module.parameters() if module else ():
                # FSDP takes no channels-last weights; those of images stay so.
                parameter.data = parameter.data.contiguous()
        # Each block is put together on its own; the rest for the whole step. What is frozen is not
        # the network's: it stays as it is.
        for module in task.network.modules():
            if isinstance(module, task.block):
                fully_shard(module, mesh=self.mesh)
        own = set(task.network.parameters())
        fully_shard(task, mesh=self.mesh, ignored_params=set(task.parameters()) - own)
        task.register_forward_pre_hook(self._same_buffers)
        if average:
            self._shard_plainly(average.module)

    def _shard_plainly(self, module: nn.Module) -> None:
        """Cut weights as FSDP does; the module can be followed, but not run."""
        for part in list(module.modules()):
            for name, parameter in list(part.named_parameters(recurse=False)):
                cut = distribute_tensor(parameter.data, self.mesh, [Shard(0)])
                part.register_parameter(name, nn.Parameter(cut, parameter.requires_grad))

    def _same_buffers(self, module: nn.Module, inputs: object) -> None:
        """The first process's buffers count, as in DDP."""
        for buffer in self.network.buffers():
            dist.broadcast(buffer, 0)

    def whole_network(self) -> nn.Module:
        """A plain copy of what is validated and saved: the running mean, or the network."""
        network: nn.Module = self.average.module if self.average else self.network
        copy = deepcopy(self.plain)
        state = {name: self.whole(value.detach()) for name, value in network.state_dict().items()}
        copy.load_state_dict(state, assign=True)
        return copy.train(self.network.training)

    @staticmethod
    def whole(value: Tensor) -> Tensor:
        """The whole of a tensor of which each process has a part; any other as it is."""
        if not isinstance(value, DTensor):
            return value
        whole: Tensor = value.full_tensor()
        return whole

    def whole_state(self, state: Any) -> Any:
        """A checkpoint's content with whole tensors, on the CPU where they were cut."""
        if isinstance(state, dict):
            return {key: self.whole_state(value) for key, value in state.items()}
        if isinstance(state, list):
            return [self.whole_state(value) for value in state]
        return self.whole(state).cpu() if isinstance(state, DTensor) else state

    def share_state(
        self, state: dict[str, Any], kind: str, optimisers: Sequence[Optimizer]
    ) -> dict[str, Any]:
        """What :meth:`whole_state` made, with this process's parts of what is cut.

        Args:
            state: of a checkpoint.
            kind: the network's key in it.
            optimisers: of the sharded network.
        """
        shared = state | {kind: self._share(state[kind], self.network.state_dict())}
        if self.average:
            shared["average"] = self._share(state["average"], self.average.state_dict())
        shared["optimisers"] = []
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            parts = {
                index: {
                    name: self._cut(value) if value.shape == parameters[index].shape else value
                    for name, value in slot.items()
                }
                for index, slot in saved["state"].items()
            }
            shared["optimisers"].append(saved | {"state": parts})
        return shared

    def _share(self, state: dict[str, Tensor], now: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: self._cut(value) if isinstance(now[name], DTensor) else value
            for name, value in state.items()
        }

    def _cut(self, value: Tensor) -> Tensor:
        value = value.to(self.mesh.device_type)
        # Every process has read all of it: nothing is to be sent.
        return distribute_tensor(value, self.mesh, [Shard(0)], src_data_rank=None)
