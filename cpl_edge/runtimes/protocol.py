"""What every runtime does, and how a model file is opened.

Images cross this boundary as float32 ``x_BCHW``, B = 1, RGB in [0, 1]: the *shape* is always NCHW.
The *memory order* is free: an array of a file whose ``info.layout`` is NHWC costs no copy if it is
a transposed view of NHWC memory, and what such a file returns is one. :func:`image_buffer` makes
the array that a runtime takes without a copy.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import UserError
from cpl_edge.runtimes.info import ModelInfo, restorer
from cpl_edge.shipped import shipped

FloatArray = npt.NDArray[np.float32]
Shape = tuple[int, ...]


class Runtime(Protocol):
    """One open model file.

    Attributes:
        info: what the file says about itself.
        signature: shapes of the inputs of each entry point, images as NCHW.
    """

    info: ModelInfo
    signature: dict[str, tuple[Shape, ...]]

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point.

        Args:
            name: ``forward`` takes ``x_BCHW`` and gives ``y_BCHW``; ``route`` takes ``x_BCHW`` and
                gives ``w_BSN`` and ``logits_BSL``; ``restore`` takes ``x_BCHW`` and ``w_BSN`` and
                gives ``y_BCHW``.
            arrays: float32 inputs of the shapes in ``signature``.

        Returns:
            float32 outputs in memory of their own: a later call leaves them alone. They may be
            read-only or transposed views.
        """
        ...

    def close(self) -> None:
        """Free the model; further calls of ``run`` fail. Closing twice is fine."""
        ...


RUNTIMES: dict[str, tuple[str, str]] = {
    "litert": (".tflite", "LiteRT"),
    "onnx": (".onnx", "OnnxRuntime"),
    "executorch": (".pte", "ExecuTorch"),
    "torch": (".safetensors", "Torch"),
    "coreml": (".mlpackage", "CoreML"),
    "mil": (".mlpackage", "Mil"),
}
"""Name of a runtime and of its module -> suffix of its files, name of its class."""

SUFFIXES = {suffix: name for name, (suffix, _) in RUNTIMES.items() if name != "mil"}
"""Suffix of a model file -> the runtime that it was made for."""


def default_runtime(suffix: str) -> str | None:
    """The runtime that opens files of a suffix where none is asked for, or None.

    Core ML runs on macOS only; elsewhere the reference evaluator takes its place.
    """
    name = SUFFIXES.get(suffix.lower())
    return "mil" if name == "coreml" and platform.system() != "Darwin" else name


def open_runtime(path: Path, threads: int = 1, runtime: str | None = None) -> Runtime:
    """Open a model file with the runtime that its suffix names.

    Args:
        path: the model file (a folder for ``.mlpackage``).
        threads: CPU threads that the runtime may use.
        runtime: one of ``RUNTIMES``, to insist on it.

    Returns:
        The open file; close it after use.

    Raises:
        UserError: no such file or runtime, not a model, or a model that does not describe itself.
        MissingExtra: the runtime's package is not installed.
    """
    if threads < 1:
        raise UserError(f"{threads} threads cannot work: give 1 or more")
    if runtime is not None and runtime not in RUNTIMES:
        raise UserError(f"no runtime {runtime!r}: choose from {', '.join(RUNTIMES)}")
    name = default_runtime(path.suffix)
    if name is None:
        raise UserError(
            f"{path} is no model file of this product: give one that ends in {', '.join(SUFFIXES)}"
        )
    if runtime is not None:
        if RUNTIMES[runtime][0] != path.suffix.lower():
            raise UserError(
                f"{path} is a file for the runtime {name}, not {runtime}: "
                f"leave the runtime out or give a {RUNTIMES[runtime][0]} file"
            )
        name = runtime
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path of the model")
    is_package = name in ("coreml", "mil")
    if path.is_dir() != is_package:
        expected = "a folder" if is_package else "a file"
        raise UserError(f"{path} is not {expected}: check the path of the model")
    module = importlib.import_module(f"cpl_edge.runtimes.{name}")
    opened: Runtime = getattr(module, RUNTIMES[name][1])(path, threads)
    return opened


def find_model(model: str, runtime: str | None = None) -> Path:
    """Find a model file by what a user gives.

    Args:
        model: a model file, a build folder with one in it, or the name of a shipped student.
        runtime: one of ``RUNTIMES``: the kind of file that is meant, where there are several.

    Returns:
        The path; a file that is given need not exist.

    Raises:
        UserError: no such runtime or shipped student, or a folder without exactly one model.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise UserError(f"no runtime {runtime!r}: choose from {', '.join(RUNTIMES)}")
    path = Path(model)
    if path.suffix.lower() in SUFFIXES:
        return path
    wanted = RUNTIMES[runtime][0] if runtime else None
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix in ([wanted] if wanted else SUFFIXES)]
        if len(found) != 1:
            raise UserError(f"{path} holds {len(found)} models: give the model file itself")
        return found[0]
    if path.is_file() or len(path.parts) != 1:
        return path
    return shipped("weights", model + (wanted or RUNTIMES["litert"][0]))


def image_buffer(info: ModelInfo) -> FloatArray:
    """Make an uninitialised ``x_BCHW`` in the memory order of a file, to be filled and passed."""
    if info.layout == "NHWC":
        return np.empty((1, info.height, info.width, 3), np.float32).transpose(0, 3, 1, 2)
    return np.empty((1, 3, info.height, info.width), np.float32)


def by_role(shapes: Iterable[tuple[str, Sequence[int]]]) -> list[str]:
    """Order the inputs or outputs of an entry point: image, then weights w, then logits.

    Formats and converters name and sort them as they like, so the shapes tell: an image has four
    dimensions, and the router gives L = D + N logits, which are more than the N weights.

    Args:
        shapes: name and shape of each.

    Returns:
        The names in the order that ``Runtime.run`` uses.
    """
    return [name for name, shape in sorted(shapes, key=lambda item: (-len(item[1]), item[1][-1]))]


def check_call(
    signature: dict[str, tuple[Shape, ...]], name: str, arrays: Sequence[FloatArray]
) -> None:
    """Refuse a call that does not fit, before native code sees it.

    Raises:
        ValueError: no such entry point, or arrays of another number, shape or type.
    """
    if name not in signature:
        raise ValueError(f"no entry point {name!r} in this file; it has {', '.join(signature)}")
    got = tuple(array.shape for array in arrays)
    if got != signature[name] or any(array.dtype != np.float32 for array in arrays):
        raise ValueError(f"{name} takes float32 arrays {signature[name]}, got {got}")


def declared_signature(info: ModelInfo) -> dict[str, tuple[Shape, ...]]:
    """Input shapes of the entry points that a description names."""
    image = (1, 3, info.height, info.width)
    weights = (1, info.sites, info.prompts)
    shapes = {"forward": (image,), "route": (image,), "restore": (image, weights)}
    return {name: shapes[name] for name in info.entry_points}


def function_signature(info: ModelInfo) -> dict[str, tuple[Shape, ...]]:
    """Input shapes of the functions of a file, of which an entry point may have several."""
    entries = declared_signature(info)
    return {name: entries[entry] for name, entry in info.functions.items()}


def chosen_function(info: ModelInfo, name: str, arrays: Sequence[FloatArray]) -> str:
    """The function that serves a call.

    Args:
        info: of the file.
        name: of the entry point.
        arrays: inputs of the call, the prompt weights ``w_BSN`` among them where they choose.

    Returns:
        The entry point itself, or the function of the degradation whose prompts weigh most.
    """
    if not info.own or name != "restore":
        return name
    share_D = arrays[1].reshape(-1, len(info.degradations), info.levels).sum((0, 2))
    return restorer(info.degradations[int(share_D.argmax())])
