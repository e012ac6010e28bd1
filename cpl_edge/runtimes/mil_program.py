"""A saved Core ML program (``.mlpackage``) read into plain values: functions, operators, constants.

Only the message classes of coremltools are imported. The package itself brings its converters, and
torch with them, which takes 10 seconds that a restorer need not spend.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.runtimes.mil_blobs import DECOMPRESS, DTYPES, Array, from_bytes, read_blob

DATA = Path("Data", "com.apple.CoreML")
"""Folder of the model inside a package."""

_MESSAGES = "coremltools.proto"

Value = Array | str | list[Any]
"""An array, a word, or a list of both (inputs such as those of ``concat``)."""


@dataclass(frozen=True)
class Tensor:
    """Name, declared type (a word of MIL.proto) and declared shape of an intermediate value."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One operator of a function.

    Attributes:
        type: as in MIL, e.g. ``conv``.
        inputs: parameter -> names of the values it is given; several for a list.
        outputs: what it makes.
    """

    type: str
    inputs: dict[str, tuple[str, ...]]
    outputs: tuple[Tensor, ...]


@dataclass
class Function:
    """One function of a program.

    Attributes:
        inputs: in their order.
        outputs: in their order.
        operations: in the order of execution, without constants.
        constants: name -> value, decompressed.
        compressed: names of constants that are stored quantised or palettised.
    """

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, Value] = field(default_factory=dict)
    compressed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Package:
    """A package: its user-defined metadata and its functions by name."""

    metadata: dict[str, str]
    functions: dict[str, Function]


def read_package(path: Path) -> Package:
    """Read a package.

    Args:
        path: of the ``.mlpackage`` folder.

    Raises:
        UserError: it is damaged, or no ML program.
        MissingExtra: coremltools is not installed.
    """
    messages = _messages()
    try:
        text = (path / DATA / "model.mlmodel").read_bytes()
        spec = messages.Model_pb2.Model.FromString(text)
        if spec.WhichOneof("Type") != "mlProgram":
            raise ValueError(f"it is a {spec.WhichOneof('Type') or 'nothing'}, not an ML program")
        weights = path / DATA / "weights" / "weight.bin"
        storage = weights.read_bytes() if weights.is_file() else b""
        names = messages.MIL_pb2.DataType.Name
        functions = {
            name: _Reader(storage, names).function(function)
            for name, function in spec.mlProgram.functions.items()
        }
    except (OSError, ValueError, KeyError, messages.DecodeError) as error:
        raise UserError(
            f"{path} is damaged or no ML program ({error}): copy or export it again"
        ) from error
    return Package(dict(spec.description.metadata.userDefined), functions)


class _Messages:
    """The generated modules that are needed."""

    def __init__(self, package: str) -> None:
        self.Model_pb2: Any = importlib.import_module(f"{package}.Model_pb2")
        self.MIL_pb2: Any = importlib.import_module(f"{package}.MIL_pb2")
        self.DecodeError: Any = importlib.import_module("google.protobuf.message").DecodeError


def _messages() -> _Messages:
    """The message classes, without the rest of coremltools unless that is there already."""
    if sys.modules.get("coremltools") is not None:
        return _Messages(_MESSAGES)
    found = importlib.util.find_spec("coremltools")
    if found is None or not found.submodule_search_locations:
        require("coremltools", extra="coreml")  # says what to install
        raise AssertionError("coremltools cannot be found, but imported")
    alone = "cpl_edge.runtimes._coremltools_proto"
    if alone not in sys.modules:
        folder = Path(found.submodule_search_locations[0], "proto")
        spec = importlib.util.spec_from_file_location(
            alone, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[alone] = module
        spec.loader.exec_module(module)
    return _Messages(alone)


class _Reader:
    """Reads one function; ``dtype`` names a number of MIL.proto's DataType."""

    def __init__(self, storage: bytes, dtype: Any) -> None:
        self._storage, self._dtype = storage, dtype
        self._read = Function()

    def function(self, message: Any) -> Function:
        read = self._read
        block = message.block_specializations[message.opset]
        read.inputs = [self._tensor(given) for given in message.inputs]
        known = {tensor.name: tensor for tensor in read.inputs}
        for operation in block.operations:
            outputs = tuple(self._tensor(output) for output in operation.outputs)
            known |= {output.name: output for output in outputs}
            # Constants of iOS 15 and 16 stand in attributes, later ones in inputs.
            attributes = {
                key: self._constant(value)
                for key, value in operation.attributes.items()
                if key != "name"
            }
            inputs = {
                key: tuple(self._argument(item, key, outputs) for item in argument.arguments)
                for key, argument in operation.inputs.items()
            }
            if operation.type == "const":
                read.constants[outputs[0].name] = attributes["val"]
            elif operation.type in DECOMPRESS:
                given = attributes | {key: read.constants[key_] for key, (key_,) in inputs.items()}
                read.constants[outputs[0].name] = DECOMPRESS[operation.type](**given)
                read.compressed.add(outputs[0].name)
            else:
                for key, value in attributes.items():
                    name = f"{outputs[0].name}.{key}"
                    read.constants[name] = value
                    inputs[key] = (name,)
                read.operations.append(Operation(operation.type, inputs, outputs))
        read.outputs = [known[name] for name in block.outputs]
        return read

    def _argument(self, argument: Any, key: str, outputs: tuple[Tensor, ...]) -> str:
        """Name of what an operator is given; a value that stands in its place gets one."""
        if argument.WhichOneof("binding") == "name":
            return str(argument.name)
        name = f"{outputs[0].name}.{key}.{len(self._read.constants)}"
        self._read.constants[name] = self._constant(argument.value)
        return name

    def _tensor(self, named: Any) -> Tensor:
        kind = named.type.tensorType
        shape = tuple(int(dimension.constant.size) for dimension in kind.dimensions)
        return Tensor(named.name, self._dtype(kind.dataType), shape)

    def _constant(self, value: Any) -> Value:
        if value.type.WhichOneof("type") != "tensorType":
            raise ValueError(f"a constant is a {value.type.WhichOneof('type')}")
        kind = value.type.tensorType
        dtype = self._dtype(kind.dataType)
        shape = tuple(int(dimension.constant.size) for dimension in kind.dimensions)
        if value.WhichOneof("value") == "blobFileValue":
            return from_bytes(read_blob(self._storage, value.blobFileValue.offset), dtype, shape)
        tensor = value.immediateValue.tensor
        stored = tensor.WhichOneof("value")
        values = getattr(tensor, stored).values
        if stored == "strings":
            return str(values[0]) if not shape else list(values)
        if stored == "bytes":
            return from_bytes(values, dtype, shape)
        if dtype not in DTYPES:
            raise ValueError(f"constants of type {dtype} are not read")
        return np.array(values, DTYPES[dtype]).reshape(shape)
