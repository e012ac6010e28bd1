"""Core ML: a pair of ``quantize`` and ``dequantize`` before each convolution that rounds.

Core ML computes a convolution in 8 bits where its weights are int8 constants and its input comes
out of such a pair (coremltools, "Quantization Overview"). ``linear_quantize_activations`` of
coremltools inserts the pairs too, but it finds ranges by running the model, which needs macOS, and
keeps them in fp16, where 255 of their steps can overflow. Here the ranges are ours
(`cpl_edge.quantize.ranges`), as for every other target.

Only inputs of convolutions are rounded: prompts and sums of branches, which are no matrix products,
stay in fp16. So fewer values are rounded than on XNNPACK, and a build loses less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cpl_edge.errors import CplEdgeError
from cpl_edge.quantize.coreml import site
from cpl_edge.quantize.preparation import Quantization

_KEEPING = frozenset({"cast", "identity", "pixel_shuffle", "pixel_unshuffle", "relu", "reshape"})
_MOST = 255


def round_inputs(model: Any, how: Quantization) -> Any:
    """Round the inputs of all convolutions that do not stay in float.

    Args:
        model: a converted ``MLModel`` with one function, of a lowered student.
        how: recipe, ranges and what stays in float.

    Returns:
        A new ``MLModel``; its weights are as they were.

    Raises:
        CplEdgeError: a convolution reads what the student has no point for.
    """
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    class Rounding(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, program: Any) -> None:
            for function in program.functions.values():
                with function:
                    _insert(function, how)

    version = model.get_spec().specificationVersion
    return _apply_graph_pass(model, Rounding(), spec_version=version, skip_model_load=True)


def grid(low: float, high: float, dtype: str) -> tuple[np.floating[Any], np.uint8]:
    """Scale and zero of the integers 0...255 that hold a range and 0.

    Args:
        low: smallest value.
        high: largest value.
        dtype: of the values, ``fp16`` or ``fp32``, in which Core ML wants the scale.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / _MOST, 1e-6)
    scale = np.float16(step) if dtype == "fp16" else np.float32(step)
    return scale, np.uint8(np.clip(np.rint(-low / float(scale)), 0, _MOST))


def _insert(function: Any, how: Quantization) -> None:
    from coremltools.converters.mil.mil import Builder, types

    points = _points(function)
    for operation in list(function.operations):
        if operation.op_type != "conv" or _site(operation) in (None, *how.kept):
            continue
        x = operation.inputs["x"]
        if (point := points.get(x)) not in how.ranges:
            raise CplEdgeError(
                f"the program rounds {point or x.name!r}, which the student does not"
            )
        scale, zero = grid(*how.ranges[point], types.builtin_to_string(x.dtype))
        with Builder.set_before_op(operation):
            steps = Builder.quantize(input=x, scale=scale, zero_point=zero, output_dtype="uint8")
            rounded = Builder.dequantize(input=steps, scale=scale, zero_point=zero)
        function.replace_uses_of_var_after_op(
            anchor_op=rounded.op, old_var=x, new_var=rounded, end_op=operation
        )


def _points(function: Any) -> dict[Any, str]:
    """Value -> the point of the student that it stands for; none in the router."""
    points = {value: "input" for name, value in function.inputs.items() if name == "x"}
    for operation in function.operations:
        given = [v for v in operation.inputs.values() if not isinstance(v, (list, tuple))]
        before = [points[value] for value in given if value in points]
        if (point := _made(operation, before)) is not None:
            points[operation.outputs[0]] = point
    return points


def _made(operation: Any, before: Sequence[str]) -> str | None:
    """The point that an operator makes of others; they are in the order of its inputs."""
    kind = operation.op_type
    if kind == "conv":
        return _site(operation)
    if not before:
        return None
    block, _, last = before[-1].rpartition(".")
    if kind in _KEEPING:
        return before[0]
    if kind == "mul" and last == "expand":
        return f"{block}.prompt:product"
    if kind == "add":
        if last == "prompt:product":
            return f"{block}.prompt:sum"
        if project := [point for point in before if point.endswith(".project")]:
            return project[0].removesuffix("project") + "sum"
        return "skip" if "up" in before else "sum" if "tail" in before else None
    return None


def _site(operation: Any) -> str | None:
    weight = operation.inputs["weight"]
    return None if weight.op is None else site(weight.op.name)
