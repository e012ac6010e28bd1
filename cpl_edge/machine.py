"""What a figure depends on: the machine and the versions, without telling whose machine it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cpl_edge import __version__

PACKAGES = (
    "numpy",
    "pillow",
    "scikit-image",
    "ai-edge-litert",
    "litert-torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "executorch",
    "torchao",
    "coremltools",
    "torch",
)
"""Packages whose versions may move a figure."""


def machine() -> dict[str, Any]:
    """Processor, architecture, cores, operating system and Python."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Version of this product and of each package of :data:`PACKAGES` that is installed."""
    found = {"cpl-edge": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Name of the processor; Python does not know it on Linux, the kernel does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
