"""Profiles measured on this machine, with the runtime that a file's suffix names."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.schema import Profile

SOURCES = {
    ".onnx": "onnxruntime",
    ".tflite": "litert",
    ".safetensors": "torch",
    ".pte": "executorch",
}
"""Suffix -> module of `cpl_edge.profile.sources` whose ``measure`` profiles such a file."""


def profile_here(model: Model, entry: str, threads: int, runs: int) -> Profile:
    """Profile one entry point of a model file.

    Args:
        model: the file.
        entry: a function of it, see :meth:`Model.function`.
        threads: CPU threads.
        runs: measured calls, after three that do not count.

    Raises:
        UserError: a file that does not run here.
    """
    assert model.path is not None
    name = SOURCES.get(model.path.suffix.lower())
    if name is None or model.info is None:
        raise UserError(
            f"{model.path} does not run on this machine: make a performance report in Xcode and "
            "import its JSON with --import"
        )
    module = importlib.import_module(f"cpl_edge.profile.sources.{name}")
    measure: Callable[[Model, str, int, int], Profile] = module.measure
    return measure(model, entry, threads, runs)
