"""ONNX Runtime on the CPU.

ONNX has no entry points, so one graph serves them all: input ``x``; optionally an input ``w`` with
a default (an initialiser of the same name), which says "route by yourself" unless it is given; the
restored image as the output of four dimensions; and optionally the router's w and logits. ONNX
Runtime computes the whole graph for each of them, so routing costs as much as restoring. Where each
degradation has convolutions of its own, the graph itself chooses by w, so ``restore`` is one call.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.runtimes.info import KEY, ModelInfo
from cpl_edge.runtimes.protocol import FloatArray, by_role, check_call, declared_signature


class OnnxRuntime:
    """An open ``.onnx`` file; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the file.
        threads: threads inside one operator.

    Raises:
        UserError: not an ONNX model, or not one of this product.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        ort = require("onnxruntime", extra="onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        try:
            session = ort.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        # Its exceptions share no base class of their own.
        except Exception as error:
            raise UserError(
                f"{path} is damaged or no ONNX model ({str(error).splitlines()[0]}): "
                "copy or export it again"
            ) from error
        self._session: Any = session
        metadata = session.get_modelmeta().custom_metadata_map
        self.info = ModelInfo.from_json(metadata.get(KEY), str(path))
        self.signature = declared_signature(self.info)
        takes = {arg.name: arg.shape for arg in session.get_inputs()}
        takes |= {
            arg.name: arg.shape
            for arg in session.get_overridable_initializers()
            if arg.shape == [1, self.info.sites, self.info.prompts]
        }
        gives = {arg.name: arg.shape for arg in session.get_outputs()}
        self._inputs = by_role(takes.items())
        images = [name for name, shape in gives.items() if len(shape) == 4]
        router = by_role((name, shape) for name, shape in gives.items() if len(shape) < 4)
        self._outputs = {"forward": images, "restore": images, "route": router}
        found = tuple(tuple(takes[name]) for name in self._inputs)
        for name, shapes in self.signature.items():
            if found[: len(shapes)] != shapes or len(self._outputs[name]) != (
                2 if name == "route" else 1
            ):
                raise UserError(
                    f"{path}: its inputs {found} do not serve the entry point {name!r} of its "
                    "description: export it again"
                )

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point."""
        assert self._session is not None, "the runtime is closed"
        check_call(self.signature, name, arrays)
        given = zip(self._inputs, arrays, strict=False)  # w has a default
        inputs = {key: np.ascontiguousarray(array) for key, array in given}
        outputs: list[FloatArray] = self._session.run(self._outputs[name], inputs)
        return tuple(outputs)

    def close(self) -> None:
        """Free the session."""
        self._session = None
