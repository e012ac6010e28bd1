"""ExecuTorch: entry points quantised by torchao's PT2E flow with the XNNPACK quantizer.

The ranges of activations are ours (`cpl_edge.quantize.ranges`): PT2E puts an observer behind every
operator that it rounds, and each of them is replaced by one that knows its range. With dynamic
ranges only what convolutions read is rounded, and there is nothing to know. The router and the
layers that turn prompt weights into a scale and a shift for each channel stay in float.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from cpl_edge.errors import CplEdgeError
from cpl_edge.quantize.preparation import Quantization


def quantize_entry(entry: nn.Module, inputs: tuple[Tensor, ...], how: Quantization) -> nn.Module:
    """One entry point with its activations and weights rounded.

    Args:
        entry: lowered, in evaluation mode.
        inputs: an example of its inputs.
        how: recipe, ranges and what stays in float.

    Returns:
        A graph of quantised operators, ready for ``torch.export``.
    """
    from torchao.quantization.pt2e.observer import PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    is_dynamic = how.recipe.activations == "dynamic"
    quantizer = _dynamic_quantizer(how) if is_dynamic else _static_quantizer(how)
    graph = torch.export.export(entry, inputs).module()
    prepared = prepare_pt2e(graph, quantizer)
    for observer in prepared.modules():
        if isinstance(observer, PerChannelMinMaxObserver):
            # Theirs is 2^-12: a quiet channel's weights, all below 127 such steps, would be coarse.
            observer.eps.fill_(torch.finfo(torch.float32).eps)
    prepared(*inputs)  # the observers of weights have to see them
    if not is_dynamic:
        _fix_ranges(prepared, how)
    converted: nn.Module = convert_pt2e(prepared)
    return converted


def _static_quantizer(how: Quantization) -> Any:
    """Rounds what every operator makes, in ranges that are known."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )

    class Static(XNNPACKQuantizer):  # type: ignore[misc]
        """Its own filter does not hold back concatenations and what they share a range with."""

        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            annotated: fx.GraphModule = super().annotate(model)
            points = _points(annotated)
            for node in annotated.graph.nodes:
                if not _is_rounded(node, points.get(node, ""), how.kept):
                    node.meta.pop("quantization_annotation", None)
            return annotated

    quantizer: Any = Static()
    return quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))


def _dynamic_quantizer(how: Quantization) -> Any:
    """Rounds what convolutions read, in ranges found while running; they make floats.

    XNNPACK's own leaves a convolution out that a ReLU follows, as in a pinned block.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, Quantizer

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)

    class Dynamic(Quantizer):  # type: ignore[misc]
        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            points = _points(model)
            for node in model.graph.nodes:
                is_conv = node.target == torch.ops.aten.conv2d.default
                if is_conv and _is_rounded(node, points.get(node, ""), how.kept):
                    read, weight = node.args[:2]
                    node.meta["quantization_annotation"] = QuantizationAnnotation(
                        input_qspec_map={read: config.input_activation, weight: config.weight},
                        _annotated=True,
                    )
            return model

        def validate(self, model: fx.GraphModule) -> None:
            pass

    return Dynamic()


def _is_rounded(node: fx.Node, point: str, kept: list[str]) -> bool:
    """Whether an operator rounds; by its point: a block's sums and products have no module."""
    if _path(node).split(".")[0] == "router" or _is_linear(node):
        return False
    return point.split(":")[0] not in kept


def _is_linear(node: fx.Node) -> bool:
    """A layer of prompt weights, or a view of one."""
    if node.target == torch.ops.aten.view.default:
        source = node.args[0]
        return isinstance(source, fx.Node) and _is_linear(source)
    return node.target == torch.ops.aten.linear.default


def _points(graph: fx.GraphModule) -> dict[fx.Node, str]:
    """The point that each operator's value stands for, as far as it comes from the input."""
    points: dict[fx.Node, str] = {}
    for node in graph.graph.nodes:
        sources = node.all_input_nodes  # also those in lists: a concatenation makes prompt weights
        if node.op == "placeholder":
            points[node] = "input"  # prompt weights are never rounded
        elif node.op == "call_module" and sources[0] in points:
            points[node] = points[sources[0]]
        elif node.op == "call_function" and (known := [n for n in sources if n in points]):
            points[node] = _point(node, [points[n] for n in known])
    return points


def _observers(graph: fx.GraphModule) -> Iterator[tuple[str, str]]:
    """Name of each observer of an activation, and the point that it stands for.

    Raises:
        CplEdgeError: an observer whose point is not known: it would keep what it saw of an example.
    """
    points = _points(graph)
    for node in graph.graph.nodes:
        if node.op == "call_module" and "post_process" in str(node.target):
            (source,) = node.all_input_nodes
            if source.op == "get_attr":
                continue  # weights
            if source not in points:
                raise CplEdgeError(f"no point is known for the rounding of {source.name!r}")
            yield str(node.target), points[source]


def _point(node: fx.Node, before: list[str]) -> str:
    """The point that an operator makes.

    Args:
        node: the operator.
        before: points of its inputs.
    """
    path, aten = _path(node), torch.ops.aten
    if node.target == aten.conv2d.default:
        return path.split(".")[0] if path[-2:] in (".0", ".1") else path
    if node.target == aten.linear.default:
        site, _, part = path.rpartition(".")
        return f"{site}.prompt:{part}"
    if node.target == aten.mul.Tensor and path:
        return f"{path}.prompt:product"
    if node.target == aten.add.Tensor:
        if any(point.endswith(":product") for point in before):
            return f"{path}.prompt:sum"
        return f"{path}.sum" if path else "skip" if "up" in before else "sum"
    return before[0]  # shuffles, views and ReLUs keep the range of what they are given


def _path(node: fx.Node) -> str:
    """Module that a node comes from, by its name in the student."""
    stack = [str(name) for name, _ in node.meta.get("nn_module_stack", {}).values()]
    last = stack[-1] if stack else ""
    return last.removeprefix("lowered").removeprefix(".")


def _fix_ranges(graph: fx.GraphModule, how: Quantization) -> None:
    """Let every observer of an activation have seen the range of its point.

    Raises:
        CplEdgeError: an observer whose point has no range.
    """
    for name, point in _observers(graph):
        if point not in how.ranges:
            raise CplEdgeError(f"the graph rounds {point!r}, which the student does not")
        _fix(graph, name, how.ranges[point])


def _fix(graph: fx.GraphModule, name: str, bounds: tuple[float, float]) -> None:
    """Replace an observer by one that has seen exactly these bounds."""
    from torchao.quantization.pt2e.observer import MinMaxObserver

    old: Any = getattr(graph, name)
    new = MinMaxObserver(
        dtype=old.dtype,
        qscheme=old.qscheme,
        quant_min=old.quant_min,
        quant_max=old.quant_max,
        eps=torch.finfo(torch.float32).eps,
    )
    new.min_val, new.max_val = (torch.tensor(bound) for bound in bounds)
    setattr(graph, name, new)
