"""Core ML, which runs on macOS only; elsewhere `cpl_edge.runtimes.mil` evaluates its files."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.runtimes.info import KEY, ModelInfo
from cpl_edge.runtimes.protocol import (
    FloatArray,
    by_role,
    check_call,
    chosen_function,
    declared_signature,
)


class CoreML:
    """An open ``.mlpackage``; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the package, a folder.
        threads: ignored: Core ML decides, and may leave the CPU altogether.

    Raises:
        UserError: not on macOS, not a Core ML model, or not one of this product.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        if platform.system() != "Darwin":
            raise UserError(
                f"{path}: Core ML runs on macOS only: leave --runtime out or give --runtime mil, "
                "the reference evaluator, or use a .tflite, .onnx or .pte build"
            )
        coremltools = require("coremltools", extra="coreml")
        try:
            spec = coremltools.utils.load_spec(str(path))
        except Exception as error:  # whatever protobuf and the file system raise
            raise UserError(
                f"{path} is damaged or no Core ML model ({error}): copy or export it again"
            ) from error
        stored = dict(spec.description.metadata.userDefined)
        self.info = ModelInfo.from_json(stored.get(KEY), str(path))
        self.signature = declared_signature(self.info)
        functions = {function.name: function for function in spec.description.functions}
        self._models: dict[str, Any] = {}
        self._names: dict[str, tuple[list[str], list[str]]] = {}
        for name in self.info.functions:
            description = functions.get(name)
            if description is None and functions:
                raise UserError(f"{path} lacks its entry point {name!r}: export it again")
            # A program of one function describes it in the model's own description.
            described = description or spec.description
            self._names[name] = (_ordered(described.input), _ordered(described.output))
            self._models[name] = coremltools.models.MLModel(
                str(path), function_name=name if functions else None
            )

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point."""
        check_call(self.signature, name, arrays)
        assert self._models, "the runtime is closed"
        name = chosen_function(self.info, name, arrays)
        inputs, outputs = self._names[name]
        given = zip(inputs, arrays, strict=True)
        result = self._models[name].predict({n: np.ascontiguousarray(a) for n, a in given})
        return tuple(np.asarray(result[n]).astype(np.float32) for n in outputs)

    def close(self) -> None:
        """Free the models."""
        self._models.clear()


def _ordered(features: Any) -> list[str]:
    return by_role((feature.name, feature.type.multiArrayType.shape) for feature in features)
