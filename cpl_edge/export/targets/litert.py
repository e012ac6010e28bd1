"""LiteRT: one ``.tflite`` with a signature for each entry point, on XNNPACK; images are BHWC.

Image convolutions are folded, since the converter turns pixel shuffles into TRANSPOSE of tensors of
six dimensions, which GPU delegates run badly or not at all. The two shuffles at the end become
transposed convolutions of zeros and ones, and those DEPTH_TO_SPACE in the file. In a trial without
a committed result (student s, 256x256, 1 thread, ms of restore, interleaved) transposed
convolutions took 21.6, with DEPTH_TO_SPACE 20.3; with dynamic ranges 10.0 and 8.5.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpl_edge.export.flatbuffer import (
    pack_model,
    read_model,
    use_depth_to_space,
    use_space_to_depth,
    write_metadata,
)
from cpl_edge.export.lowering import Swaps
from cpl_edge.export.program import Program, make_program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.models.student import Student
from cpl_edge.quantize.litert import quantize_tflite
from cpl_edge.runtimes.info import KEY, ModelInfo

# Operators with which a GPU delegate refuses the file, or that it runs by copying.
OFF_GPU = frozenset({"TRANSPOSE", "GATHER", "GATHER_ND", "SCATTER_ND", "TOPK_V2", "SPLIT", "ERF"})
MOST_DIMENSIONS = 4  # of a tensor on the GPU


class LiteRT(Target):
    """The target ``litert``."""

    name = "litert"
    model = "model.tflite"
    layout = "NHWC"
    # Means over one axis at a time: a mean over two can be NaN on the GPU, and the sum of a whole
    # map can leave the range of fp16 (https://github.com/google-ai-edge/LiteRT/issues/9249).
    swaps = Swaps(fold_unshuffle=True, one_hot_shuffle=True, split_mean=True)
    accelerator = "XNNPACK"
    modules = ("litert_torch", "ai_edge_litert.interpreter", "ai_edge_quantizer")
    packages = ("torch", "litert-torch", "ai-edge-litert", "ai-edge-quantizer")

    def lower(self, student: Student, info: ModelInfo) -> Program:
        """See :class:`Target`; with dynamic ranges images are unshuffled before they are rounded.

        Each round value is then read by fewer taps of more channels. In trials without a committed
        result (256x256, 1 thread, interleaved) restore took 0.93 to 0.99 of its time with it; in
        fp32 as long as folded, and fixed ranges have not been tried.
        """
        dynamic = info.precision == "dynamic"
        return make_program(student, info, replace(self.swaps, one_hot_unshuffle=dynamic))

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`; equal constants of the signatures become one buffer."""
        import litert_torch

        path = folder / self.model
        converter: Any = litert_torch
        for name, entry in program.entries.items():
            converter = converter.signature(name, entry, program.inputs(name))
        converter.convert().export(str(path))
        use_space_to_depth(path)  # before its weights are rounded
        if (how := program.quantization) is not None:
            each = {name: program.member(name).quantization for name in program.entries}
            ranges = {name: given.ranges for name, given in each.items() if given is not None}
            quantize_tflite(path, how.recipe, ranges, how.points, how.kept)
        use_depth_to_space(path)
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
        for signature in read_model(path).signatureDefs:
            name = signature.signatureKey.decode()
            # Interpreters list the nodes of the first subgraph only: make each the first.
            model = read_model(path)
            model.subgraphs = [model.subgraphs[signature.subgraphIndex]]
            model.signatureDefs = []
            codes = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
            operators[name] = dict(
                Counter(names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in codes)
            )
            shapes = [t.shape for t in model.subgraphs[0].tensors if t.shape is not None]
            unportable[name] = sorted(OFF_GPU & set(operators[name]))
            unportable[name] += [f"tensor of shape {s}" for s in shapes if len(s) > MOST_DIMENSIONS]
            outside[name], partitions[name] = _delegation(pack_model(model))
        return Inspection(operators, outside, unportable, partitions)


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
