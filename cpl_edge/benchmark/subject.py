"""What is measured: a build's model file, or a raw one (peers and the roofline's kernels)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require

COPY = Path("copy")
"""Stands for no file: copying memory."""

COPY_BYTES = 1 << 28
"""Read and written by one copy: far more than any cache."""


@dataclass(frozen=True)
class Subject:
    """One file at one number of threads: what a process of its own will hold.

    Attributes:
        name: row heading, unique in a run.
        raw: no build of this product: one entry point ``forward`` on whatever inputs it has.
        path: the model file; :data:`COPY` stands for copying memory.
        threads: CPU threads.
        entries: entry points to time, those that the file has; ``restore`` if it has none.
    """

    name: str
    raw: bool
    path: Path
    threads: int
    entries: tuple[str, ...] = ("forward",)


def open_raw(path: Path, threads: int) -> tuple[Callable[[], object], dict[str, str]]:
    """Open a file that is no build, with inputs of random numbers.

    Args:
        path: ``.onnx``, ``.tflite`` or :data:`COPY`.
        threads: CPU threads.

    Returns:
        What runs it once, and the file's own metadata.

    Raises:
        UserError: it cannot be opened.
    """
    if path == COPY:
        return _copy(threads), {}
    opener = {".onnx": _onnx, ".tflite": _litert}.get(path.suffix)
    if opener is None or not path.is_file():
        raise UserError(f"{path} is no .onnx or .tflite file")
    return opener(path, threads)


def _onnx(path: Path, threads: int) -> tuple[Callable[[], object], dict[str, str]]:
    ort = require("onnxruntime", extra="onnx")
    options = ort.SessionOptions()  # as `cpl_edge.runtimes.onnx` sets them
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session: Any = ort.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base class
        raise UserError(f"{path.name} cannot be opened: {str(error).splitlines()[0]}") from error
    types = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
    feeds = {arg.name: _random(arg.shape, types[arg.type]) for arg in session.get_inputs()}
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return lambda: session.run(None, feeds), metadata


def _litert(path: Path, threads: int) -> tuple[Callable[[], object], dict[str, str]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        values = _random(detail["shape"].tolist(), np.dtype(detail["dtype"]).name)
        interpreter.set_tensor(detail["index"], values)
    return interpreter.invoke, {}


def _random(shape: list[int], kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "float32":
        return rng.random(shape, np.float32)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)


def _copy(threads: int) -> Callable[[], object]:
    source = np.ones((threads, COPY_BYTES // 2 // threads), np.uint8)
    target = np.zeros_like(source)
    if threads == 1:
        return lambda: np.copyto(target, source)
    pool = ThreadPoolExecutor(threads)  # NumPy copies without the interpreter's lock
    return lambda: list(pool.map(np.copyto, target, source))
