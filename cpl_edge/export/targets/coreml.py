"""Core ML: one ``.mlpackage`` with a function for each entry point, for iOS 18 and macOS 15.

Pixel shuffles, softmax and reductions are native operators there, so only the prompt and the router
are swapped. Where the rest computes in fp16, the router stays in fp32: its statistics are sums over
the whole photo, whose squares leave the range of fp16, and the selection must agree with the
student's. Inputs and outputs are fp32 in every precision.

Off a Mac the reference evaluator (`cpl_edge.runtimes.mil`) runs a package in place of Core ML.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cpl_edge.export.program import Program
from cpl_edge.export.targets.target import Inspection, Target
from cpl_edge.quantize.coreml import compress, site
from cpl_edge.quantize.coreml_activations import round_inputs
from cpl_edge.runtimes.info import KEY
from cpl_edge.runtimes.mil_program import read_package

OUTPUTS = {"forward": ("y",), "restore": ("y",), "route": ("w", "logits")}
INPUTS = {"forward": ("x",), "restore": ("x", "w"), "route": ("x",)}

# Operators that the Neural Engine does not run, so that the whole program may leave it.
OFF_ENGINE = frozenset(
    {"topk", "argsort", "non_zero", "cond", "while_loop", "gru", "lstm", "rnn"}
    | {f"{kind}{form}" for kind in ("gather", "scatter") for form in ("", "_along_axis", "_nd")}
)
_MODEL_FILE = Path("Data", "com.apple.CoreML", "model.mlmodel")
_WEIGHTS = Path("Data", "com.apple.CoreML", "weights")


class CoreML(Target):
    """The target ``coreml``."""

    name = "coreml"
    model = "model.mlpackage"
    accelerator = "Neural Engine"
    modules = ("coremltools",)
    packages = ("torch", "coremltools")

    def convert(self, program: Program, folder: Path) -> Path:
        """See :class:`Target`; functions are converted one by one and share equal weights."""
        import coremltools as ct

        path = folder / self.model
        functions = ct.utils.MultiFunctionDescriptor()
        with tempfile.TemporaryDirectory() as scratch:
            for name in program.entries:
                part = str(Path(scratch, f"{name}.mlpackage"))
                model = self._convert(program, name)
                how = program.member(name).quantization
                if how is not None and name != "route":
                    if how.ranges:
                        model = round_inputs(model, how)
                    model = compress(model, how.recipe, how.kept)
                model.save(part)
                functions.add_function(part, "main", name)
            functions.default_function_name = next(iter(program.entries))
            ct.utils.save_multifunction(functions, str(path))
        spec = ct.utils.load_spec(str(path))
        spec.description.metadata.userDefined[KEY] = program.info.to_json()
        (path / _MODEL_FILE).write_bytes(spec.SerializeToString())
        return path

    def _convert(self, program: Program, name: str) -> Any:
        """One entry point as a model of its own.

        Traced, because only then does an operator know the module that it comes from, which the
        choice of its precision needs.
        """
        import coremltools as ct
        from coremltools.converters.mil.mil.scope import ScopeSource

        def in_half(operator: Any) -> bool:
            return "router" not in operator.scopes[ScopeSource.TORCHSCRIPT_MODULE_NAME]

        entry = program.info.functions[name]
        half = program.info.precision != "fp32" and name != "route"
        inputs = program.inputs(name)
        return ct.convert(
            torch.jit.trace(program.entries[name], inputs),  # type: ignore[no-untyped-call]
            inputs=[
                ct.TensorType(label, tensor.shape, dtype=np.float32)
                for label, tensor in zip(INPUTS[entry], inputs, strict=True)
            ],
            outputs=[ct.TensorType(label, dtype=np.float32) for label in OUTPUTS[entry]],
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.transform.FP16ComputePrecision(in_half)
            if half
            else ct.precision.FLOAT32,
            skip_model_load=True,
        )

    def inspect(self, path: Path) -> Inspection:
        """See :class:`Target`; on Linux nobody knows what runs where, only what cannot."""
        counts = {
            name: Counter(operation.type for operation in operations if operation.type != "const")
            for name, operations in _functions(path).items()
        }
        outside = {name: sorted(OFF_ENGINE & set(count)) for name, count in counts.items()}
        return Inspection({name: dict(count) for name, count in counts.items()}, outside)


def interface(path: Path) -> dict[str, dict[str, tuple[tuple[int, ...], str]]]:
    """Function -> name of an input or output -> its declared shape and type."""
    import coremltools as ct

    spec = ct.utils.load_spec(str(path))
    types = ct.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType
    described = {}
    for function in spec.description.functions:
        features = [*function.input, *function.output]
        arrays = {feature.name: feature.type.multiArrayType for feature in features}
        described[function.name] = {
            name: (tuple(array.shape), types.Name(array.dataType).lower())
            for name, array in arrays.items()
        }
    return described


def metadata(path: Path) -> str | None:
    """The description that travels in the package."""
    import coremltools as ct

    stored: dict[str, str] = dict(ct.utils.load_spec(str(path)).description.metadata.userDefined)
    return stored.get(KEY)


def missing_weights(path: Path, program: Program) -> list[str]:
    """Parameters of a program that a package does not hold, by their names in the student.

    Args:
        path: the package.
        program: what it was made from.

    Returns:
        ``function: parameter`` for each parameter whose values are no constant of that function,
        bit by bit, in fp32 or rounded to fp16; where weights are compressed, no constant that they
        restore comes near it. Empty for a package in order.
    """
    functions = read_package(path).functions
    missing = []
    for name in program.entries:
        if name not in functions:
            missing.append(f"{name}: the function itself")
            continue
        function = functions[name]
        arrays = {k: v for k, v in function.constants.items() if isinstance(v, np.ndarray)}
        held = {_key(array) for key, array in arrays.items() if key not in function.compressed}
        restored = [arrays[key] for key in function.compressed]
        member = program.member(name)
        for label, parameter in member.lowered.named_parameters():
            is_router = label.startswith("router.")
            unused = (
                is_router if _never_routes(program, name) else name == "route" and not is_router
            )
            if unused:
                continue
            exact = parameter.numpy()
            if _is_compressed(member, label, exact):
                found = any(_is_near(array, exact) for array in restored)
            else:
                half = program.info.precision != "fp32" and not is_router
                found = _key(exact.astype(np.float16) if half else exact) in held
            if not found:
                missing.append(f"{name}: {label}")
    return missing


def _never_routes(program: Program, name: str) -> bool:
    return program.info.functions[name] == "restore" or program.info.routing == "pinned"


def _is_compressed(program: Program, label: str, values: npt.NDArray[Any]) -> bool:
    if program.quantization is None or values.ndim != 4:
        return False
    return site(f"lowered.{label}".replace(".", "_")) not in (None, *program.quantization.kept)


def _is_near(restored: npt.NDArray[Any], exact: npt.NDArray[Any]) -> bool:
    """Whether compressed weights are these: another convolution's differ by more than their size.

    How near they must be is not judged here but by what they do, in the other gates.
    """
    if restored.shape != exact.shape:
        return False
    difference = np.linalg.norm(restored.astype(np.float32) - exact)
    return bool(difference < 0.5 * np.linalg.norm(exact))


def _key(array: npt.NDArray[Any]) -> tuple[str, bytes]:
    return array.dtype.str, np.ascontiguousarray(array).tobytes()


def _functions(path: Path) -> dict[str, Any]:
    """Operations of each function of a package, without its weights."""
    import coremltools as ct

    functions = ct.utils.load_spec(str(path)).mlProgram.functions
    return {
        name: functions[name].block_specializations[functions[name].opset].operations
        for name in functions
    }
