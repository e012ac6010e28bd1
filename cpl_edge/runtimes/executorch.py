"""ExecuTorch, through the Python bindings that come with its wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.runtimes.info import KEY, ModelInfo
from cpl_edge.runtimes.protocol import (
    FloatArray,
    check_call,
    chosen_function,
    declared_signature,
    function_signature,
)

_IDENTIFIER = slice(4, 8)  # bytes of a .pte that say so: "ET12"


class ExecuTorch:
    """An open ``.pte`` file; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the file.
        threads: of ExecuTorch's thread pool, which belongs to the process.

    Raises:
        UserError: not an ExecuTorch program, or not one of this product.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        require("torch", extra="executorch")  # the bindings link against its libraries
        # Not executorch.runtime: that imports the whole exporter for a warning class, 6 seconds.
        bindings = require("executorch.extension.pybindings._portable_lib", extra="executorch")
        with path.open("rb") as file:
            if not file.read(8)[_IDENTIFIER].startswith(b"ET"):
                raise UserError(f"{path} is no ExecuTorch program: copy or export it again")
        if bindings._threadpool_get_thread_count() != threads:
            bindings._unsafe_reset_threadpool(threads)  # unsafe only while a method runs
        try:
            self._program: Any = bindings._load_program(str(path))
            self.info = ModelInfo.from_json(self._description(), str(path))
            self.signature = declared_signature(self.info)
            functions = function_signature(self.info)
            self._methods: dict[str, Any] = {
                name: self._program.load_method(name) for name in functions
            }
        except (RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{path} cannot be loaded ({str(error).splitlines()[0]}): copy or export it again"
            ) from error
        for name, shapes in functions.items():
            meta = self._methods[name].method_meta()
            found = tuple(meta.input_tensor_meta(i).sizes() for i in range(meta.num_inputs()))
            if found != shapes:
                raise UserError(
                    f"{path}: its entry point {name!r} takes {found} but its description says "
                    f"{shapes}: export it again"
                )

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point."""
        import torch

        assert self._program is not None, "the runtime is closed"
        check_call(self.signature, name, arrays)
        # Strides are not looked at: transposed memory would be read as if it were not.
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        method = self._methods[chosen_function(self.info, name, arrays)]
        outputs = method(tensors, clone_outputs=False)
        # The memory is the next call's, too. NumPy copies it: torch would wake OpenMP's threads,
        # which then wait busily beside ExecuTorch's own.
        return tuple(output.numpy().copy() for output in outputs)

    def close(self) -> None:
        """Free the program."""
        self._methods.clear()
        self._program = None

    def _description(self) -> str | None:
        names = {self._program.get_method_name(i) for i in range(self._program.num_methods())}
        if KEY not in names:
            return None
        return str(self._program.load_method(KEY)([])[0])
