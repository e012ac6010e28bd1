"""Runtimes behind one small protocol: LiteRT, ONNX Runtime, ExecuTorch, torch and Core ML.

Core ML files are evaluated by `cpl_edge.runtimes.mil` where Core ML itself does not run.
"""

from cpl_edge.runtimes.info import ModelInfo
from cpl_edge.runtimes.protocol import RUNTIMES, Runtime, find_model, open_runtime

__all__ = ["RUNTIMES", "ModelInfo", "Runtime", "find_model", "open_runtime"]
