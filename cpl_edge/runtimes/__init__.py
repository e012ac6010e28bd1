"""Runtimes behind one small protocol: LiteRT, ONNX Runtime, ExecuTorch, torch and Core ML."""

from cpl_edge.runtimes.info import ModelInfo
from cpl_edge.runtimes.protocol import RUNTIMES, Runtime, open_runtime

__all__ = ["RUNTIMES", "ModelInfo", "Runtime", "open_runtime"]
