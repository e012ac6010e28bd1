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

Measured (student s, 256x256, 1 thread, CPU ms): plain 18.7, image convolutions folded 18.2,
up-convolution transposed as well 17.5. Folded image convolutions also avoid an exporter bug, see
:func:`cpl_edge.export.lowering.fold_unshuffle`; the other two shuffles stay DepthToSpace, which
ONNX Runtime has in int8 too where it has no transposed convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import Program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.quantize.onnx import quantize_graph
from cpl_edge.runtimes.info import KEY

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
    modules = ("onnx", "onnxscript", "onnxruntime")
    packages = ("torch", "onnx", "onnxruntime")

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`."""
        import onnx

        info = program.info
        x, w_BSN = program.inputs("restore")
        inputs, outputs = {"x": x}, ["y"]
        module: nn.Module
        if info.routing in ("auto", "told"):
            module = _Auto(program)
            inputs, outputs = {"x": x, GIVEN: w_BSN}, ["y", "w", "logits", USED]
        elif info.routing == "split":
            module = _Split(program)
            inputs, outputs = {"x": x, USED: w_BSN}, ["y", "w", "logits"]
        else:
            module = program.entries["forward"]
        exported = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            verbose=False,
        )
        assert exported is not None
        model = exported.model_proto
        _name_inner(model)
        if program.quantization is not None:
            model = quantize_graph(model, program.quantization)
        _make_optional(model, list(inputs)[1:])
        _strip(model)
        onnx.helper.set_model_props(model, {KEY: info.to_json()})
        onnx.checker.check_model(model, full_check=True)
        path = folder / self.model
        onnx.save(model, str(path))
        return path

    def inspect(self, path: Path) -> Inspection:
        """See :class:`Target`; the CPU provider takes every operator or refuses the file."""
        import onnx

        graph = onnx.load(str(path)).graph
        return Inspection({"graph": dict(Counter(node.op_type for node in graph.node))})


class _Auto(nn.Module):
    """The graph of routing ``auto``, see above."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.route, self.restore = program.entries["route"], program.entries["restore"]

    def forward(self, x: Tensor, w_given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w, logits = self.route(x)
        is_given = torch.clamp(w_given.sum(-1, keepdim=True) * 1e6, 0.0, 1.0)
        w_used = w_given + w * (1.0 - is_given)
        return self.restore(x, w_used), w, logits, w_used


class _Split(nn.Module):
    """The graph of routing ``split``: two functions of one image."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.route, self.restore = program.entries["route"], program.entries["restore"]

    def forward(self, x: Tensor, w_used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.restore(x, w_used), *self.route(x)


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
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info):
        del item.metadata_props[:]
        item.doc_string = ""
