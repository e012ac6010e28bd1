"""TFLite files as trees of objects: read, changed and written again."""

from __future__ import annotations

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
    from ai_edge_litert import schema_py_generated as schema

    model, found = read_model(path), 0
    transposed = schema.BuiltinOperator.TRANSPOSE_CONV
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) != transposed:
                continue
            _, weights, image = (graph.tensors[i] for i in operator.inputs[:3])
            block = operator.builtinOptions.strideH
            if not _moves_pixels(model, weights, block) or not _same_numbers(
                image, graph.tensors[operator.outputs[0]]
            ):
                continue
            options = schema.DepthToSpaceOptionsT()
            options.blockSize = block
            operator.builtinOptions = options
            operator.builtinOptionsType = schema.BuiltinOptions.DepthToSpaceOptions
            operator.inputs = [operator.inputs[2]]
            operator.opcodeIndex = _code(model, schema.BuiltinOperator.DEPTH_TO_SPACE)
            found += 1
    if found:
        _drop_unused(model)
        path.write_bytes(pack_model(model))
    return found


def _moves_pixels(model: Any, weights: Any, block: int) -> bool:
    """Whether weights of out, rows, columns, in are those of a shuffle, sub-pixels first."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}
    out, rows, columns, given = (int(n) for n in weights.shape)
    data = model.buffers[weights.buffer].data
    if weights.type not in kinds or data is None or (rows, columns) != (block, block):
        return False
    w_OHWI = np.frombuffer(bytes(data), kinds[weights.type]).reshape(weights.shape)
    if given != out * block * block or not w_OHWI.any():
        return False
    expected_OHWI = np.eye(given).reshape(rows, columns, out, given).transpose(2, 0, 1, 3)
    return np.array_equal(w_OHWI / w_OHWI.max(), expected_OHWI)


def _same_numbers(image: Any, made: Any) -> bool:
    """Whether both tensors hold the same numbers in the same way."""

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
    """Remove tensors that nothing reads or writes, and empty the buffers that were theirs."""
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
    kept = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    kept |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in kept:
            buffer.data = None
