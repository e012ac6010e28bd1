"""LiteRT: one ``.tflite`` with a signature for each entry point, on XNNPACK; images are BHWC.

Measured (student s, 256x256, 1 thread, CPU ms of forward / restore): plain 17.2 / 16.9 with 18
TRANSPOSE, image convolutions folded 17.2 / 16.9, up-convolution transposed as well 17.0 / 16.8 with
6 TRANSPOSE, one-hot tail as well 17.6 / 17.3 with none. The last half millisecond buys a file
without TRANSPOSE and reshapes to other pixels, which GPU delegates run badly or not at all.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import Program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.quantize.litert import quantize_tflite
from cpl_edge.runtimes.info import KEY

# Operators with which a GPU delegate refuses the file, or that it runs by copying.
OFF_GPU = frozenset({"TRANSPOSE", "GATHER", "GATHER_ND", "SCATTER_ND", "TOPK_V2", "SPLIT", "ERF"})
MOST_DIMENSIONS = 4  # of a tensor on the GPU
_ALIGNMENT = 16  # of constants: schema.fbs, Buffer.data, force_align


class LiteRT(Target):
    """The target ``litert``."""

    name = "litert"
    model = "model.tflite"
    layout = "NHWC"
    # Means over one axis at a time: a mean over two can be NaN on the GPU, and the sum of a whole
    # map can leave the range of fp16 (https://github.com/google-ai-edge/LiteRT/issues/9249).
    swaps = Swaps(fold_unshuffle=True, fold_shuffle=True, one_hot_tail=True, split_mean=True)
    accelerator = "XNNPACK"
    modules = ("litert_torch", "ai_edge_litert.interpreter", "ai_edge_quantizer")
    packages = ("torch", "litert-torch", "ai-edge-litert", "ai-edge-quantizer")

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`; equal constants of the signatures become one buffer."""
        import litert_torch

        path = folder / self.model
        converter: Any = litert_torch
        for name, entry in program.entries.items():
            converter = converter.signature(name, entry, program.inputs(name))
        converter.convert().export(str(path))
        if (how := program.quantization) is not None:
            quantize_tflite(path, how.recipe, how.ranges, how.points, how.kept)
        write_metadata(path, KEY, program.info.to_json())
        return path

    def inspect(self, path: Path) -> Inspection:
        """See :class:`Target`."""
        from ai_edge_litert import schema_py_generated as schema

        names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
        operators: dict[str, dict[str, int]] = {}
        outside: dict[str, list[str]] = {}
        unportable: dict[str, list[str]] = {}
        partitions: dict[str, int] = {}
        for signature in _read(path).signatureDefs:
            name = signature.signatureKey.decode()
            # Interpreters list the nodes of the first subgraph only: make each the first.
            model = _read(path)
            model.subgraphs = [model.subgraphs[signature.subgraphIndex]]
            model.signatureDefs = []
            codes = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
            operators[name] = dict(
                Counter(names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in codes)
            )
            shapes = [t.shape for t in model.subgraphs[0].tensors if t.shape is not None]
            unportable[name] = sorted(OFF_GPU & set(operators[name]))
            unportable[name] += [f"tensor of shape {s}" for s in shapes if len(s) > MOST_DIMENSIONS]
            outside[name], partitions[name] = _delegation(_pack(model))
        return Inspection(operators, outside, unportable, partitions)


def write_metadata(path: Path, key: str, text: str) -> None:
    """Add an entry to ``Model.metadata`` of a TFLite file.

    Args:
        path: the file, rewritten in place.
        key: name of the entry.
        text: stored as UTF-8 in a buffer of its own.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _read(path)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = list(text.encode())
    entry.name, entry.buffer = key, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(_pack(model))


def _read(path: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantizer stores constants behind the tables
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _pack(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """The generated code forgets the schema's alignment of constants."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, _ALIGNMENT if size == 1 else alignment)

    builder = AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _delegation(model: bytes) -> tuple[list[str], int]:
    """Operators that XNNPACK leaves out, and the number of its partitions.

    An interpreter lists the original nodes and, behind them, the delegates that replace some of
    them: those between a delegate's outputs and its inputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=model, num_threads=1)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:  # XNNPACK took the operators and then refused their numbers
        return [f"all of it ({' '.join(str(error).split())})"], 0
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    producer = {t: n for n in nodes if n["op_name"] != "DELEGATE" for t in n["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        inputs, pending = set(delegate["inputs"]), list(delegate["outputs"])
        while pending:
            tensor = pending.pop()
            node = None if tensor in inputs else producer.get(tensor)
            if node is not None and node["index"] not in taken:
                taken.add(node["index"])
                pending.extend(node["inputs"])
    left = [n["op_name"] for n in nodes if n["op_name"] != "DELEGATE" and n["index"] not in taken]
    return sorted(left), len(delegates)
