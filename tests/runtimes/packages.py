"""Small ``.mlpackage`` folders, written message by message: quicker than importing a converter."""

import struct
from pathlib import Path

import numpy as np

from cpl_edge.runtimes.info import KEY
from cpl_edge.runtimes.mil_program import _messages

NAMES = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "bool": "BOOL", "int8": "INT8",
    "uint8": "UINT8",
}  # fmt: skip


class Function:
    """Builds one function; every method returns the name of what it makes."""

    def __init__(self, package, name):
        self.package, self.messages = package, package.messages
        self.function = package.spec.mlProgram.functions[name]
        self.function.opset = "CoreML8"
        self.block = self.function.block_specializations["CoreML8"]
        self.count = 0

    def input(self, name, shape, dtype="FLOAT32"):
        self._type(self.function.inputs.add(), name, shape, dtype)
        return name

    def constant(self, value, where="blob", dtype=None):
        """An array in weight.bin or in the program itself, or a word."""
        operation = self.block.operations.add(type="const")
        return self._valued(operation, operation.attributes["val"], value, where, dtype)

    def apply(self, operator, shape, dtype="FLOAT32", /, **inputs):
        """An operator; what is no name of a value becomes an argument in its place."""
        operation = self.block.operations.add(type=operator)
        for key, values in inputs.items():
            for value in values if isinstance(values, list) else [values]:
                argument = operation.inputs[key].arguments.add()
                if isinstance(value, str):
                    argument.name = value
                else:
                    self._fill(argument.value, value, "here", None)
        return self._output(operation, shape, dtype)

    def attributed(self, operator, shape, dtype="FLOAT32", /, **attributes):
        """An operator with constants as attributes, as iOS 16 writes compressed weights."""
        operation = self.block.operations.add(type=operator)
        for key, value in attributes.items():
            self._fill(operation.attributes[key], value, "blob", None)
        return self._output(operation, shape, dtype)

    def returns(self, *names):
        self.block.outputs.extend(names)

    def _valued(self, operation, place, value, where, dtype):
        self._fill(place, value, where, dtype)
        shape = () if isinstance(value, str) else np.shape(value)
        word = "STRING" if isinstance(value, str) else dtype or NAMES[np.asarray(value).dtype.name]
        return self._output(operation, shape, word)

    def _output(self, operation, shape, dtype):
        self.count += 1
        name = f"v{self.count}"
        self._type(operation.outputs.add(), name, shape, dtype)
        return name

    def _type(self, named, name, shape, dtype):
        named.name = name
        self._tensor(named.type.tensorType, shape, dtype)

    def _tensor(self, kind, shape, dtype):
        kind.dataType = self.messages.MIL_pb2.DataType.Value(dtype)
        kind.rank = len(shape)
        for size in shape:
            kind.dimensions.add().constant.size = size

    def _fill(self, value_message, value, where, dtype):
        tensor = value_message.immediateValue.tensor
        if isinstance(value, str):
            self._tensor(value_message.type.tensorType, (), "STRING")
            tensor.strings.values.append(value)
            return
        array = np.asarray(value)
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        elif array.dtype == np.float64:
            array = array.astype(np.float32)
        word = dtype or NAMES[array.dtype.name]
        data = packed(array, word)
        self._tensor(value_message.type.tensorType, array.shape, word)
        if where == "blob":
            value_message.ClearField("immediateValue")
            value_message.blobFileValue.fileName = "@model_path/weights/weight.bin"
            value_message.blobFileValue.offset = self.package.blob(data)
        elif word == "FLOAT32":
            tensor.floats.values.extend(array.ravel().tolist())
        elif word == "INT32":
            tensor.ints.values.extend(array.ravel().tolist())
        elif word == "BOOL":
            tensor.bools.values.extend(array.ravel().tolist())
        else:
            tensor.bytes.values = data


class Package:
    """Builds a package."""

    def __init__(self):
        self.messages = _messages()
        self.spec = self.messages.Model_pb2.Model(specificationVersion=9)
        self.spec.mlProgram.version = 1
        self.blobs = bytearray(struct.pack("<II", 0, 2).ljust(64, b"\0"))

    def function(self, name="forward"):
        return Function(self, name)

    def blob(self, data):
        offset = len(self.blobs)
        head = struct.pack("<IIQQQ", 0xDEADBEEF, 0, len(data), offset + 64, 0).ljust(64, b"\0")
        self.blobs += head + data + bytes(-len(data) % 64)
        return offset

    def save(self, path, text=None):
        if text is not None:
            self.spec.description.metadata.userDefined[KEY] = text
        data = Path(path, "Data", "com.apple.CoreML")
        (data / "weights").mkdir(parents=True)
        (data / "model.mlmodel").write_bytes(self.spec.SerializeToString())
        (data / "weights" / "weight.bin").write_bytes(bytes(self.blobs))
        return path


def packed(array, dtype):
    bits = {"UINT1": 1, "UINT2": 2, "UINT3": 3, "UINT4": 4, "UINT6": 6, "INT4": 4}.get(dtype)
    if bits is None:
        return array.tobytes()
    rows = np.unpackbits(array.astype(np.uint8).reshape(-1, 1), axis=1, bitorder="little")
    return np.packbits(rows[:, :bits].ravel(), bitorder="little").tobytes()


def write_toy(path, toys, info=None, text=None, **changes):
    """The toy of toys.py, its inputs and outputs in an unhelpful order."""
    info = info or toys.INFO
    package = Package()
    image = (1, 3, info.height, info.width)
    f = package.function("forward")
    x = f.input("x", image)
    f.returns(f.apply("mul", image, x=x, y=f.constant(toys.C[:, None, None])))
    f = package.function("route")
    x = f.input("x", image)
    mean = f.apply("reduce_mean", (1, 1, 1, 1), x=x, axes=np.array([1, 2, 3]), keep_dims=True)
    mean = f.apply("reshape", (1, 1, 1), x=mean, shape=np.array([1, 1, 1]))
    w = f.apply("mul", (1, 1, 4), x=mean, y=f.constant(toys.W, "here"))
    scaled = f.apply("mul", (1, 1, 6), x=mean, y=f.constant(toys.A))
    f.returns(f.apply("add", (1, 1, 6), x=scaled, y=f.constant(toys.B)), w)
    f = package.function("restore")
    w, x = f.input("w", (1, 1, 4)), f.input("x", image)
    weighted = f.apply("mul", (1, 1, 4), x=w, y=f.constant(toys.V))
    total = f.apply("reduce_sum", (1, 1, 1), x=weighted, axes=np.array([2]), keep_dims=True)
    total = f.apply("reshape", (1, 1, 1, 1), x=total, shape=np.array([1, 1, 1, 1]))
    f.returns(f.apply("add", image, x=x, y=total))
    return package.save(path, info.to_json() if text is None else text)
