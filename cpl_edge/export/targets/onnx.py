"""ONNX: one ``.onnx`` whose one graph serves the three entry points.

ONNX has no entry points, so a graph of a build with routing ``auto`` or ``told`` is::

    x, w_given (optional, zeros unless given) -> y, w, logits
    w_used = w_given if its sum is above 0, else w        # plain arithmetic, no If
    y = restore(x, w_used)

- ``forward``: feed ``x``, ask for ``y``.
- ``restore``: feed ``x`` and ``w_given``, ask for ``y``; the router's 2 % are wasted.
- ``route``: feed ``x``, ask for ``w`` and ``logits``. Correct, but ONNX Runtime computes the whole
  graph whatever is asked for: ``only_execute_path_to_fetches`` has no effect in its inference
  builds (https://github.com/microsoft/onnxruntime/issues/16013), so routing takes 18.2 ms instead
  of 0.4. A runtime that can import ``onnx`` cuts the graph when it opens the file, one session for
  each entry point, and then wastes nothing::

      extractor = onnx.utils.Extractor(onnx.load(path))
      route = extractor.extract_model(["x"], ["w", "logits"])
      restore = extractor.extract_model(["x", "w_used"], ["y"])

``split`` is the same without the sum: ``w_used`` itself is the optional input. ``pinned`` has
``x -> y`` alone. An ``If`` on an input would skip nodes by itself, but mobile providers (Core ML's
by default) leave what is inside it to the CPU.

Where each degradation has convolutions of its own there is no other way: such a graph has the same
inputs and outputs, and ``y`` comes out of a chain of ``If``, with a branch for each degradation
(`cpl_edge.export.onnx_branches`). One of them runs: in a trial without a committed result s-each
took the 42.0 ms of s (restore, CPU time, on another machine than below).

Measured (student s, 256x256, 1 thread, CPU ms): plain 18.7, image convolutions folded 18.2,
up-convolution transposed as well 17.5. Folded image convolutions also avoid an exporter bug, see
:func:`cpl_edge.export.lowering.fold_unshuffle`; the other two shuffles stay DepthToSpace, which
ONNX Runtime has in int8 too where it has no transposed convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.onnx_branches import all_graphs, join_branches
from cpl_edge.export.program import Program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.quantize.onnx import quantize_graph
from cpl_edge.runtimes.info import KEY, restorer

if TYPE_CHECKING:
    import onnx

OPSET = 18
GIVEN, USED = "w_given", "w_used"


class Onnx(Target):
    """The target ``onnx``."""

    name = "onnx"
    model = "model.onnx"
    swaps = Swaps(fold_unshuffle=True)
    accelerator = "CPUExecutionProvider"
    chooses = True
    modules = ("onnx", "onnxscript", "onnxruntime")
    packages = ("torch", "onnx", "onnxruntime")

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`."""
        import onnx

        info = program.info
        inputs, optional = {"x": program.inputs("restore")[0]}, dict[str, Tensor]()
        if info.routing != "pinned":
            name = USED if info.routing == "split" else GIVEN
            optional = {name: program.inputs("restore")[1]}
        model = (_joined if info.own else _single)(program, inputs | optional)
        _name_inner(model)
        _make_optional(model, list(optional))
        _strip(model)
        onnx.helper.set_model_props(model, {KEY: info.to_json()})
        onnx.checker.check_model(model, full_check=True)
        path = folder / self.model
        onnx.save(model, str(path))
        return path

    def inspect(self, path: Path) -> Inspection:
        """See :class:`Target`; the CPU provider takes every operator or refuses the file."""
        import onnx

        graphs = all_graphs(onnx.load(str(path)).graph)
        return Inspection(
            {"graph": dict(Counter(node.op_type for graph in graphs for node in graph.node))}
        )


def _single(program: Program, inputs: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The graph of a student whose convolutions are those of every degradation."""
    routing, entries = program.info.routing, program.entries
    module: nn.Module
    if routing == "pinned":
        module, outputs = entries["forward"], ["y"]
    else:
        kind, others = _GRAPHS[routing]
        module, outputs = kind(entries["route"], entries["restore"]), ["y", *others]
    return _quantized(_exported(module, inputs, outputs), program)


def _joined(program: Program, inputs: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The graph of a student whose degradations have convolutions of their own."""
    kind, outputs = _GRAPHS[program.info.routing]
    routing = _exported(kind(program.entries["route"], None), inputs, outputs)
    given = dict(zip(("x", USED), program.inputs("restore"), strict=True))
    branches = {
        name: _quantized(_exported(program.entries[name], given, ["y"]), program.member(name))
        for name in map(restorer, program.info.degradations)
    }
    return join_branches(routing, branches, USED)


def _exported(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]
) -> onnx.ModelProto:
    exported = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=list(outputs),
        verbose=False,
    )
    assert exported is not None
    return exported.model_proto


def _quantized(model: onnx.ModelProto, program: Program) -> onnx.ModelProto:
    how = program.quantization
    return model if how is None else quantize_graph(model, how)


class _Auto(nn.Module):
    """The graph of routing ``auto``, see above; without ``y`` where nothing restores."""

    def __init__(self, route: nn.Module, restore: nn.Module | None) -> None:
        super().__init__()
        self.route, self.restore = route, restore

    def forward(self, x: Tensor, w_given: Tensor) -> tuple[Tensor, ...]:
        w, logits = self.route(x)
        is_given = torch.clamp(w_given.sum(-1, keepdim=True) * 1e6, 0.0, 1.0)
        w_used = w_given + w * (1.0 - is_given)
        y = () if self.restore is None else (self.restore(x, w_used),)
        return *y, w, logits, w_used


class _Split(nn.Module):
    """The graph of routing ``split``: two functions of one image, or only the one that routes."""

    def __init__(self, route: nn.Module, restore: nn.Module | None) -> None:
        super().__init__()
        self.route, self.restore = route, restore

    def forward(self, x: Tensor, w_used: Tensor) -> tuple[Tensor, ...]:
        y = () if self.restore is None else (self.restore(x, w_used),)
        return *y, *self.route(x)


_GRAPHS: dict[str, tuple[type[_Auto | _Split], list[str]]] = {
    "auto": (_Auto, ["w", "logits", USED]),
    "told": (_Auto, ["w", "logits", USED]),
    "split": (_Split, ["w", "logits"]),
}
"""Routing -> its graph, and the outputs that follow ``y``."""


def _name_inner(model: onnx.ModelProto) -> None:
    """Turn the fourth output, which was one only to get its name, into an inner tensor."""
    for output in model.graph.output[3:]:
        model.graph.value_info.append(output)
    del model.graph.output[3:]


def _make_optional(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give inputs zeros as their default: an initialiser of the same name."""
    from onnx import numpy_helper

    for value in model.graph.input:
        if value.name in names:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            zeros = np.zeros(shape, np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, value.name))


def _strip(model: onnx.ModelProto) -> None:
    """Remove the stack traces, with the exporting machine's paths, that torch leaves on nodes."""
    for graph in all_graphs(model.graph):
        for item in (model, graph, *graph.node, *graph.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
