"""ExecuTorch: one ``.pte`` with a method for each entry point, on XNNPACK.

Measured (student s, 256x256, 1 thread, CPU ms of forward / restore): pixel shuffles as they are
17.9 / 17.5, image convolutions folded 17.8 / 17.3, one-hot convolutions 18.0 / 17.3, up-convolution
as a transposed one 18.3 / 17.6, tail as well 19.1 / 18.7. So image convolutions are folded (with
dynamic ranges a convolution behind a pixel unshuffle fails when it runs, error 0x1 of 1.4.1), and
the prompt and the router are swapped, which takes ``forward`` from four partitions and nine
operators outside to one and none.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import Program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.quantize.executorch import quantize_entry
from cpl_edge.runtimes.info import KEY


class ExecuTorch(Target):
    """The target ``executorch``."""

    name = "executorch"
    model = "model.pte"
    swaps = Swaps(fold_unshuffle=True)
    accelerator = "XNNPACK"
    modules = ("executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner")
    packages = ("torch", "executorch", "torchao")

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`; the methods share named data, so weights are stored once."""
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        methods = {}
        for name, entry in program.entries.items():
            module: torch.nn.Module = entry
            how = program.member(name).quantization
            if how is not None and name != "route":
                module = quantize_entry(entry, program.inputs(name), how)
            methods[name] = torch.export.export(module, program.inputs(name))
        edge = to_edge_transform_and_lower(
            methods,
            partitioner=[XnnpackPartitioner()],
            constant_methods={KEY: program.info.to_json()},
        )
        path = folder / self.model
        with path.open("wb") as file:
            edge.to_executorch().write_to_file(file)
        return path

    def inspect(self, path: Path) -> Inspection:
        """See :class:`Target`; read from the file itself: a plan of instructions per method."""
        from executorch.exir._serialize._program import deserialize_pte_binary

        program = deserialize_pte_binary(path.read_bytes()).program
        operators: dict[str, dict[str, int]] = {}
        outside: dict[str, list[str]] = {}
        partitions: dict[str, int] = {}
        for plan in program.execution_plan:
            if plan.name == KEY:
                continue
            calls = [
                _call(plan, instruction) for c in plan.chains for instruction in c.instructions
            ]
            counts = Counter(call for call in calls if call is not None)
            operators[plan.name] = dict(counts)
            partitions[plan.name] = counts[self.accelerator]
            outside[plan.name] = sorted(set(counts) - {self.accelerator})
        return Inspection(operators, outside, partitions=partitions)


def _call(plan: Any, instruction: Any) -> str | None:
    """Operator of an instruction, XNNPACK for a delegate, None for housekeeping."""
    arguments = instruction.instr_args
    kind = type(arguments).__name__
    if kind == "DelegateCall":
        return str(plan.delegates[arguments.delegate_index].id).removesuffix("Backend").upper()
    if kind == "KernelCall":
        operator = plan.operators[arguments.op_index]
        return f"{operator.name}.{operator.overload}".removesuffix(".")
    return None
