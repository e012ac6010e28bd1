"""The few functions of LiteRT's C API that profiling needs, by ctypes.

Signatures: ``litert/c/litert_{environment,model,options,compiled_model,tensor_buffer,profiler}.h``
and the options' TOML: ``litert/c/options/litert_{runtime,cpu}_options.cc`` of LiteRT 2.2 and 2.3.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import CplEdgeError
from cpl_edge.profile.quiet import quiet

_CPU = 1  # kLiteRtHwAcceleratorCpu
_WRITE = 1  # kLiteRtTensorBufferLockModeWrite
_TENSOR_TYPE_BYTES = 512  # LiteRtRankedTensorType takes 76; only passed through


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("allocated", "in_use", "footprint")]


class _Event(ctypes.Structure):
    """``ProfiledEventData`` of litert_profiler_event.h."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
        ("begin", _Memory),
        ("end", _Memory),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


@dataclass(frozen=True)
class TimedEvent:
    """One event: its word, LiteRtProfilerEventType, index of the operator and duration."""

    tag: str
    type: int
    index: int
    microseconds: float


class Library:
    """A compiled model with profiling on; images and weights are random.

    Args:
        path: a ``.tflite`` file that has been verified.
        entry: the signature to run.
        threads: of XNNPACK.

    Raises:
        CplEdgeError: the library lacks a function, or one of them failed.
    """

    def __init__(self, path: Path, entry: str, threads: int) -> None:
        spec = importlib.util.find_spec("ai_edge_litert")
        assert spec is not None and spec.origin is not None, "LiteRT is of the base install"
        found = sorted(Path(spec.origin).parent.glob("libLiteRt.*"))
        if not found:
            raise CplEdgeError(
                "this LiteRT comes without its library libLiteRt, which has the profiler: "
                "pip install 'ai-edge-litert>=2.3'"
            )
        self._library = ctypes.CDLL(str(found[0]))
        self._free: list[tuple[str, ctypes.c_void_p]] = []
        self._keep: list[Any] = []  # what native code points to
        with quiet():
            self._open(path, entry, threads)

    def _open(self, path: Path, entry: str, threads: int) -> None:
        env = self._make("Environment", ctypes.c_int(0), None)
        model = self._make("Model", env, str(path).encode(), create="CreateModelFromFile")
        options = self._make("Options")
        self._call("SetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        self._option(options, "runtime_options_string", "enable_profiling = true\n")
        self._option(options, "xnnpack", f"num_threads = {threads}\n")
        self._compiled = self._make("CompiledModel", env, model, options)
        self._profiler = ctypes.c_void_p()
        self._call("CompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))
        self._index, signature = self._signature(model, entry)
        self._inputs = self._buffers(env, signature, "Input")
        self._outputs = self._buffers(env, signature, "Output")

    def profile(self, warmup: int, runs: int) -> list[list[TimedEvent]]:
        """Call the entry point.

        Args:
            warmup: calls that do not count.
            runs: calls that do.

        Returns:
            The events of each call; the library's buffer would not hold those of many.
        """
        calls = []
        with quiet():
            for _ in range(warmup):
                self._run()
            for _ in range(runs):
                self._call("ResetProfiler", self._profiler)
                self._call("StartProfiler", self._profiler)
                self._run()
                self._call("StopProfiler", self._profiler)
                calls.append(self._events())
        return calls

    def _events(self) -> list[TimedEvent]:
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        return [
            TimedEvent(e.tag.decode(errors="replace"), e.type, e.index, float(e.microseconds))
            for e in events
        ]

    def summary(self) -> str:
        """What LiteRT's own tools print, of the last call."""
        text = ctypes.c_char_p()
        self._call("GetProfileSummary", self._profiler, self._compiled, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace")

    def close(self) -> None:
        """Free everything, last made first."""
        with quiet():
            while self._free:
                kind, handle = self._free.pop()
                getattr(self._library, f"LiteRtDestroy{kind}")(handle)

    def _run(self) -> None:
        arguments: list[Any] = []
        for buffers in (self._inputs, self._outputs):
            arguments += [ctypes.c_size_t(len(buffers))]
            arguments += [(ctypes.c_void_p * len(buffers))(*buffers)]
        self._call("RunCompiledModel", self._compiled, self._index, *arguments)

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, f"LiteRt{name}")
        except AttributeError as error:
            raise CplEdgeError(
                f"this version of LiteRT has no LiteRt{name}, which profiling needs: "
                "pip install 'ai-edge-litert==2.3.*'"
            ) from error
        if status := function(*arguments):
            raise CplEdgeError(f"LiteRT's {name} failed with status {status}")

    def _make(self, kind: str, *arguments: Any, create: str | None = None) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self._call(create or f"Create{kind}", *arguments, ctypes.byref(handle))
        self._free.append((kind, handle))
        return handle

    def _option(self, options: ctypes.c_void_p, name: str, text: str) -> None:
        """Add options, which LiteRT takes as TOML under a name; it frees them with the model's."""
        payload = ctypes.create_string_buffer(text.encode())
        nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        self._keep += [payload, nothing]
        opaque = ctypes.c_void_p()
        self._call(
            "CreateOpaqueOptions",
            name.encode(),
            ctypes.cast(payload, ctypes.c_void_p),
            nothing,
            ctypes.byref(opaque),
        )
        self._call("AddOpaqueOptions", options, opaque)

    def _signature(
        self, model: ctypes.c_void_p, entry: str
    ) -> tuple[ctypes.c_size_t, ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._call("GetNumModelSignatures", model, ctypes.byref(count))
        for i in range(count.value):
            signature, key = ctypes.c_void_p(), ctypes.c_char_p()
            self._call("GetModelSignature", model, ctypes.c_size_t(i), ctypes.byref(signature))
            self._call("GetSignatureKey", signature, ctypes.byref(key))
            if key.value == entry.encode():
                return ctypes.c_size_t(i), signature
        raise CplEdgeError(f"LiteRT finds no entry point {entry!r} in the file")

    def _buffers(
        self, env: ctypes.c_void_p, signature: ctypes.c_void_p, way: str
    ) -> list[ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{way}s", signature, ctypes.byref(count))
        buffers = []
        for i in map(ctypes.c_size_t, range(count.value)):
            tensor, needs = ctypes.c_void_p(), ctypes.c_void_p()
            kind = ctypes.create_string_buffer(_TENSOR_TYPE_BYTES)
            self._call(f"GetSignature{way}TensorByIndex", signature, i, ctypes.byref(tensor))
            self._call("GetRankedTensorType", tensor, kind)
            self._call(
                f"GetCompiledModel{way}BufferRequirements",
                self._compiled,
                self._index,
                i,
                ctypes.byref(needs),
            )
            create = "CreateManagedTensorBufferFromRequirements"
            buffers.append(self._make("TensorBuffer", env, kind, needs, create=create))
            if way == "Input":
                self._fill(buffers[-1])
        return buffers

    def _fill(self, buffer: ctypes.c_void_p) -> None:
        size, address = ctypes.c_size_t(), ctypes.c_void_p()
        self._call("GetTensorBufferPackedSize", buffer, ctypes.byref(size))
        self._call("LockTensorBuffer", buffer, ctypes.byref(address), ctypes.c_int(_WRITE))
        values = np.random.default_rng(0).random(size.value // 4, dtype=np.float32)
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        self._call("UnlockTensorBuffer", buffer)
