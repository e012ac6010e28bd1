"""The reference evaluator: Core ML programs in NumPy, on any machine.

Core ML runs on macOS and iOS only, but a saved ``.mlpackage`` holds its whole program. This runtime
evaluates it operator by operator, in the number types that the program declares: what is declared
as fp16 is rounded to fp16 after every operator. It tells whether the program is right and what its
rounding costs; it tells nothing about Core ML's own kernels, their order of sums, or their speed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError
from cpl_edge.runtimes.info import KEY, ModelInfo
from cpl_edge.runtimes.mil_arithmetic import Arithmetic, to_half
from cpl_edge.runtimes.mil_operators import OPERATORS
from cpl_edge.runtimes.mil_program import Function, Operation, Tensor, read_package
from cpl_edge.runtimes.protocol import (
    FloatArray,
    by_role,
    check_call,
    chosen_function,
    declared_signature,
    function_signature,
)

Watch = Callable[[Tensor, Any], None]
"""Told every intermediate value: its declaration, and what it was before rounding."""


class UnknownOperator(UserError):
    """A program asks for an operator, or for a parameter of one, that is not known here."""


class Mil:
    """An open ``.mlpackage``; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the package, a folder.
        threads: ignored: NumPy's matrix products take the threads that its environment gives.
        arithmetic: in which numbers to compute.

    Raises:
        UserError: damaged, no ML program, or not one of this product.
        UnknownOperator: an operator that is not known here.
        MissingExtra: coremltools, whose message classes read the file, is not installed.
    """

    def __init__(self, path: Path, threads: int = 1, arithmetic: Arithmetic | None = None) -> None:
        self.arithmetic = arithmetic or Arithmetic()
        package = read_package(path)
        self.info = ModelInfo.from_json(package.metadata.get(KEY), str(path))
        self.signature = declared_signature(self.info)
        self._functions: dict[str, Evaluation] = {}
        for name, shapes in function_signature(self.info).items():
            function = package.functions.get(name)
            if function is None and len(package.functions) == 1:
                (function,) = package.functions.values()  # a program of one calls it "main"
            if function is None:
                raise UserError(f"{path} lacks its entry point {name!r}: export it again")
            try:
                evaluation = Evaluation(function)
            except UnknownOperator as error:
                raise UnknownOperator(f"{path}, entry point {name!r}: {error}") from None
            found = tuple(evaluation.inputs[label] for label in by_role(evaluation.inputs.items()))
            if found != shapes:
                raise UserError(
                    f"{path}: its entry point {name!r} takes {found} but its description says "
                    f"{shapes}: export it again"
                )
            self._functions[name] = evaluation

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point."""
        check_call(self.signature, name, arrays)
        assert self._functions, "the runtime is closed"
        evaluation = self._functions[chosen_function(self.info, name, arrays)]
        given = dict(zip(by_role(evaluation.inputs.items()), arrays, strict=True))
        found = evaluation(given, self.arithmetic)
        order = by_role((label, value.shape) for label, value in found.items())
        return tuple(np.array(found[label], np.float32) for label in order)

    def close(self) -> None:
        """Free the program."""
        self._functions.clear()


class Evaluation:
    """A function of a program, ready to be called.

    Attributes:
        inputs: name -> shape.

    Raises:
        UnknownOperator: an operator that is not known here.
    """

    def __init__(self, function: Function) -> None:
        self.inputs = {tensor.name: tensor.shape for tensor in function.inputs}
        self._function = function
        self._sums = {op.type for op in function.operations if _checked(op)}
        last = {
            name: i
            for i, operation in enumerate(function.operations)
            for names in operation.inputs.values()
            for name in names
        }
        kept = {tensor.name for tensor in function.outputs} | set(function.constants)
        self._free: dict[int, list[str]] = {}  # what no later operator reads
        for name, i in last.items():
            if name not in kept:
                self._free.setdefault(i, []).append(name)
        self._ready: tuple[Arithmetic, dict[str, Any]] | None = None

    def __call__(
        self, given: dict[str, Any], arithmetic: Arithmetic, watch: Watch | None = None
    ) -> dict[str, Any]:
        """Outputs by name, for inputs by name.

        Args:
            given: an array for each input.
            arithmetic: in which numbers to compute.
            watch: told every intermediate value.
        """
        values = self._constants(arithmetic) | {
            tensor.name: _stored(given[tensor.name], tensor, arithmetic)
            for tensor in self._function.inputs
        }
        for i, operation in enumerate(self._function.operations):
            arguments = {
                parameter: values[names[0]] if len(names) == 1 else [values[n] for n in names]
                for parameter, names in operation.inputs.items()
            }
            if operation.type == "concat" and not isinstance(arguments["values"], list):
                arguments["values"] = [arguments["values"]]
            if operation.type in self._sums:
                half = arithmetic.is_half(operation.outputs[0].dtype)
                arguments["half_sums"] = half and arithmetic.half_sums
            # What overflows becomes infinite, and who judges the outputs says so.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                made = OPERATORS[operation.type](**arguments)
            made = made if isinstance(made, list) else [made]
            for tensor, value in zip(operation.outputs, made, strict=True):
                if watch is not None:
                    watch(tensor, value)
                values[tensor.name] = _stored(value, tensor, arithmetic)
            for name in self._free.get(i, ()):
                del values[name]
        return {tensor.name: values[tensor.name] for tensor in self._function.outputs}

    def _constants(self, arithmetic: Arithmetic) -> dict[str, Any]:
        """Constants in the numbers of an arithmetic; the last one is remembered."""
        if self._ready is None or self._ready[0] != arithmetic:
            half = arithmetic.floats == "fp16"
            self._ready = (
                arithmetic,
                {name: _widened(value, half) for name, value in self._function.constants.items()},
            )
        return self._ready[1]


def _checked(operation: Operation) -> bool:
    """Whether an operator sums; refuses one that is not known."""
    advice = (
        "run the package on macOS with --runtime coreml, or add it to "
        "cpl_edge/runtimes/mil_operators.py with a test"
    )
    function = OPERATORS.get(operation.type)
    if function is None:
        raise UnknownOperator(
            f"the reference evaluator does not know the operator {operation.type!r}: {advice}"
        )
    parameters = inspect.signature(function).parameters
    if unknown := sorted(set(operation.inputs) - set(parameters)):
        raise UnknownOperator(
            f"the reference evaluator does not know {unknown[0]!r} of the operator "
            f"{operation.type!r}: {advice}"
        )
    return "half_sums" in parameters


def _stored(value: Any, tensor: Tensor, arithmetic: Arithmetic) -> Any:
    """A value as its declared type holds it."""
    if tensor.dtype in ("FLOAT16", "FLOAT32"):
        if arithmetic.is_half(tensor.dtype):
            return to_half(value)
        return np.asarray(value, np.float32)
    return value


def _widened(value: Any, half: bool) -> Any:
    """A constant: floats as float32, rounded if everything is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return to_half(value) if half else value.astype(np.float32)
    return value
