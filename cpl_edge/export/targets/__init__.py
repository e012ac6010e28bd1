"""The registry of targets: a new one is a file here and a line below."""

from __future__ import annotations

from cpl_edge.export.targets.coreml import CoreML
from cpl_edge.export.targets.executorch import ExecuTorch
from cpl_edge.export.targets.litert import LiteRT
from cpl_edge.export.targets.onnx import Onnx
from cpl_edge.export.targets.target import Inspection, Target

__all__ = ["TARGETS", "Inspection", "Target"]

TARGETS: dict[str, Target] = {
    target.name: target for target in (ExecuTorch(), CoreML(), LiteRT(), Onnx())
}
