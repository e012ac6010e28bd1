"""TFLite files as trees of objects: read, changed and written again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_ALIGNMENT = 16  # of constants: schema.fbs, Buffer.data, force_align


def read_model(path: Path) -> Any:
    """A TFLite file as the ``ModelT`` of its schema."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantizer stores constants behind the tables
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def pack_model(model: Any) -> bytes:
    """The bytes of a file."""
    import flatbuffers  # type: ignore[import-untyped]

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """The generated code forgets the schema's alignment of constants."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, _ALIGNMENT if size == 1 else alignment)

    builder = AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def write_metadata(path: Path, key: str, text: str) -> None:
    """Add an entry to ``Model.metadata`` of a TFLite file.

    Args:
        path: the file, rewritten in place.
        key: name of the entry.
        text: stored as UTF-8 in a buffer of its own.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(path)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = list(text.encode())
    entry.name, entry.buffer = key, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(pack_model(model))


def use_depth_to_space(path: Path) -> int:
    """Turn transposed convolutions that only move pixels into DEPTH_TO_SPACE.

    The converter has no way to that operator. What `cpl_edge.export.lowering.one_hot_shuffle` made
    is known by its weights, in float or rounded, and by equal scales of input and output.

    Args:
        path: the file, rewritten in place.

    Returns:
        How many there were.
    """
    return _use(path, "TRANSPOSE_CONV", "DEPTH_TO_SPACE", _shuffles)


def use_space_to_depth(path: Path) -> int:
    """The same of what `cpl_edge.export.lowering.one_hot_unshuffle` made: SPACE_TO_DEPTH."""
    return _use(path, "CONV_2D", "SPACE_TO_DEPTH", _unshuffles)


def _use(path: Path, old: str, new: str, moves: Callable[[Any, Any, Any], int | None]) -> int:
    """Turn operators of one kind that move pixels into those of another.

    Args:
        path: the file, rewritten in place.
        old: their kind.
        new: the others'.
        moves: model, graph and operator -> which of its inputs it moves, or None if it does not.
    """
    from ai_edge_litert import schema_py_generated as schema

    model, found = read_model(path), 0
    before, after = (getattr(schema.BuiltinOperator, kind) for kind in (old, new))
    kind = f"{new.title().replace('_', '')}Options"  # DepthToSpaceOptions
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            is_one = max(code.builtinCode, code.deprecatedBuiltinCode) == before
            moved = moves(model, graph, operator) if is_one else None
            if moved is None:
                continue
            options = getattr(schema, f"{kind}T")()
            options.blockSize = operator.builtinOptions.strideH
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.inputs = [operator.inputs[moved]]
            operator.opcodeIndex = _code(model, after)
            found += 1
    if found:
        _drop_unused(model)
        path.write_bytes(pack_model(model))
    return found


def _shuffles(model: Any, graph: Any, operator: Any) -> int | None:
    """A transposed convolution's image, if it does nothing but a shuffle, sub-pixels first."""
    _, weights, _, *bias = (graph.tensors[i] for i in operator.inputs if i >= 0)
    out, given = int(weights.shape[0]), int(weights.shape[3])
    side = operator.builtinOptions.strideH
    if given != out * side * side:
        return None
    expected_OHWI = np.eye(given).reshape(side, side, out, given).transpose(2, 0, 1, 3)
    return 2 if _is(model, graph, operator, weights, expected_OHWI, bias, 2) else None


def _unshuffles(model: Any, graph: Any, operator: Any) -> int | None:
    """A convolution's image, if it does nothing but an unshuffle, sub-pixels first."""
    _, weights, *bias = (graph.tensors[i] for i in operator.inputs if i >= 0)
    out, given = int(weights.shape[0]), int(weights.shape[3])
    side = operator.builtinOptions.strideH
    if out != given * side * side:
        return None
    expected_OHWI = np.eye(out).reshape(out, side, side, given)
    return 0 if _is(model, graph, operator, weights, expected_OHWI, bias, 0) else None


def _is(
    model: Any, graph: Any, operator: Any, weights: Any, expected: Any, bias: list[Any], image: int
) -> bool:
    """Whether an operator has these weights, no bias, and changes nothing else."""
    from ai_edge_litert import schema_py_generated as schema

    options, (made,) = operator.builtinOptions, operator.outputs
    values = _values(model, weights)
    return (
        values is not None
        and values.shape == expected.shape
        and options.strideW == options.strideH
        and options.fusedActivationFunction == schema.ActivationFunctionType.NONE
        and _same_numbers(graph.tensors[operator.inputs[image]], graph.tensors[made])
        and not any((b := _values(model, tensor)) is None or b.any() for tensor in bias)
        and np.allclose(values, expected, atol=1e-6)
    )


def _values(model: Any, tensor: Any) -> Any:
    """The numbers of a constant, or None of what is none or of another type than here."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }
    data = model.buffers[tensor.buffer].data
    if tensor.type not in kinds or data is None or not len(data):
        return None
    values = np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tensor.shape)
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale):
        return values.astype(np.float64)
    if any(found.zeroPoint):
        return None
    scale = np.asarray(found.scale, np.float64)
    if len(scale) > 1:
        axes = [1] * values.ndim
        axes[found.quantizedDimension] = len(scale)
        scale = scale.reshape(axes)
    return values * scale


def _same_numbers(image: Any, made: Any) -> bool:
    """Whether both tensors hold the same numbers in the same way, which the operator can move."""
    from ai_edge_litert import schema_py_generated as schema

    if image.type not in (schema.TensorType.FLOAT32, schema.TensorType.INT8):
        return False  # of 16 bits, for one

    def scales(tensor: Any) -> list[list[float]]:
        found = tensor.quantization
        parts = (None, None) if found is None else (found.scale, found.zeroPoint)
        return [[] if part is None else [float(n) for n in part] for part in parts]

    return image.type == made.type and scales(image) == scales(made)


def _code(model: Any, builtin: int) -> int:
    """Index of an operator's code, which is added if it is not there yet."""
    from ai_edge_litert import schema_py_generated as schema

    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = builtin
    added.version = 1
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _drop_unused(model: Any) -> None:
    """Remove what nothing uses any more: tensors and operators' codes; empty buffers."""
    signatures = {signature.subgraphIndex: signature for signature in model.signatureDefs or []}
    for index, graph in enumerate(model.subgraphs):
        ends = signatures.get(index)
        maps = [] if ends is None else [*ends.inputs, *ends.outputs]
        lists = [graph.inputs, graph.outputs]
        lists += [ids for op in graph.operators for ids in (op.inputs, op.outputs)]
        used = sorted(
            {int(i) for ids in lists for i in ids if i >= 0} | {m.tensorIndex for m in maps}
        )
        moved = {old: new for new, old in enumerate(used)} | {-1: -1}  # -1: none was given
        graph.tensors = [graph.tensors[i] for i in used]
        graph.inputs = [moved[int(i)] for i in graph.inputs]
        graph.outputs = [moved[int(i)] for i in graph.outputs]
        for op in graph.operators:
            op.inputs = [moved[int(i)] for i in op.inputs]
            op.outputs = [moved[int(i)] for i in op.outputs]
        for end in maps:
            end.tensorIndex = moved[end.tensorIndex]
    codes = sorted({op.opcodeIndex for graph in model.subgraphs for op in graph.operators})
    model.operatorCodes = [model.operatorCodes[i] for i in codes]
    for op in (op for graph in model.subgraphs for op in graph.operators):
        op.opcodeIndex = codes.index(op.opcodeIndex)
    kept = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    kept |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in kept:
            buffer.data = None
