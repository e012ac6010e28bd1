"""LiteRT (TensorFlow Lite): the runtime of the base install, with its XNNPACK delegate."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.runtimes.info import KEY, ModelInfo
from cpl_edge.runtimes.protocol import (
    FloatArray,
    by_role,
    check_call,
    chosen_function,
    declared_signature,
    function_signature,
)

# Slots of tables in TensorFlow's schema.fbs: 4 + 2 * (position of the field).
_MODEL_BUFFERS, _MODEL_METADATA = 12, 16
_METADATA_NAME, _METADATA_BUFFER = 4, 6
_BUFFER_DATA = 4


class LiteRT:
    """An open ``.tflite`` file; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the file.
        threads: CPU threads of the interpreter, its XNNPACK delegate included.

    Raises:
        UserError: not a TFLite model, or not one of this product.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:  # verifies the whole file, which reading the metadata then relies on
            self._interpreter: Any = Interpreter(str(path), num_threads=threads)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{path} is damaged or no TFLite model ({str(error).splitlines()[0]}): "
                "copy or export it again"
            ) from error
        self.info = ModelInfo.from_json(read_metadata(path, KEY), str(path))
        self.signature = declared_signature(self.info)
        self._runners: dict[str, Any] = {}
        self._inputs: dict[str, list[str]] = {}
        self._outputs: dict[str, list[str]] = {}
        present = self._interpreter.get_signature_list()
        for name, shapes in function_signature(self.info).items():
            if name not in present:
                raise UserError(f"{path} lacks its entry point {name!r}: export it again")
            runner = self._interpreter.get_signature_runner(name)
            details = runner.get_input_details()
            names = by_role((n, detail["shape"]) for n, detail in details.items())
            found = tuple(self._to_nchw_shape(details[n]["shape"].tolist()) for n in names)
            if found != shapes:
                raise UserError(
                    f"{path}: its entry point {name!r} takes {found} but its description says "
                    f"{shapes}: export it again"
                )
            outputs = runner.get_output_details()
            self._runners[name] = runner
            self._inputs[name] = names
            self._outputs[name] = by_role((n, d["shape"]) for n, d in outputs.items())

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point; no copies of images where they are views of NHWC memory."""
        assert self._interpreter is not None, "the runtime is closed"
        check_call(self.signature, name, arrays)
        name = chosen_function(self.info, name, arrays)
        names = self._inputs[name]
        inputs = {n: self._from_nchw(array) for n, array in zip(names, arrays, strict=True)}
        outputs = self._runners[name](**inputs)  # copies in and out
        return tuple(self._to_nchw(outputs[n]) for n in self._outputs[name])

    def close(self) -> None:
        """Free the interpreter."""
        self._runners.clear()
        self._interpreter = None

    def _to_nchw_shape(self, shape: list[int]) -> tuple[int, ...]:
        if self.info.layout == "NHWC" and len(shape) == 4:
            return (shape[0], shape[3], shape[1], shape[2])
        return tuple(shape)

    def _from_nchw(self, array: FloatArray) -> FloatArray:
        if self.info.layout == "NHWC" and array.ndim == 4:
            return array.transpose(0, 2, 3, 1)
        return array

    def _to_nchw(self, array: FloatArray) -> FloatArray:
        if self.info.layout == "NHWC" and array.ndim == 4:
            return array.transpose(0, 3, 1, 2)
        return array


def read_metadata(path: Path, key: str) -> str | None:
    """Read one entry of ``Model.metadata`` without the 700 KB of generated schema code.

    Args:
        path: a TFLite file that an interpreter has verified.
        key: name of the entry.

    Returns:
        The bytes of its buffer as UTF-8, or None if there is no such entry.
    """
    from flatbuffers import number_types  # type: ignore[import-untyped]
    from flatbuffers.table import Table  # type: ignore[import-untyped]

    def items(table: Table, slot: int) -> list[Table]:
        offset = table.Offset(slot)
        if not offset:
            return []
        start = table.Vector(offset)
        return [Table(data, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        model = Table(data, Table(data, 0).Indirect(0))
        for entry in items(model, _MODEL_METADATA):
            name, index = entry.Offset(_METADATA_NAME), entry.Offset(_METADATA_BUFFER)
            if not name or not index or entry.String(name + entry.Pos) != key.encode():
                continue
            number = entry.Get(number_types.Uint32Flags, index + entry.Pos)
            buffer = items(model, _MODEL_BUFFERS)[number]
            offset = buffer.Offset(_BUFFER_DATA)
            if offset:
                start = buffer.Vector(offset)
                raw = data[start : start + buffer.VectorLen(offset)]
                return raw.decode(errors="replace")
    return None
