"""The process that holds one model file and answers timed queries; its parent is `process.py`.

    python -m cpl_edge.benchmark.worker KIND PATH THREADS ENTRY,ENTRY

One process for each file and number of threads: its peak memory is its own, thread pools do not
meet, and opening is cold but for the file, which the system may have cached. Lines of JSON go both
ways; what native libraries print on stdout goes to stderr instead.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from cpl_edge.benchmark.photo import MEGABYTE, memory_readers, synthetic_photo
from cpl_edge.benchmark.subject import Subject, open_raw
from cpl_edge.errors import CplEdgeError
from cpl_edge.runtimes import open_runtime
from cpl_edge.runtimes.protocol import SUFFIXES, Runtime, image_buffer

Query = Callable[[], object]

LIBRARIES = {
    "litert": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
    "executorch": "executorch.extension.pybindings._portable_lib",
    "torch": "torch",
    "coreml": "coremltools",
}
"""Runtime -> the module whose import loads its library."""


def serve(subject: Subject, commands: TextIO, answers: TextIO) -> None:
    """Open a file, say what it is, then answer commands until they end.

    The first answer has ``load_ms``, ``first_ms`` by entry point, ``baseline_mb``, the file's
    ``info`` and the ``metadata`` of a raw file; or ``refused``, a reason. Then ``{"entry": ...,
    "queries": n, "seconds": s}`` is answered by ``times_ms`` and ``cpu_seconds``, and ``{}`` by
    ``peak_mb``.
    """

    def answer(values: dict[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    now, peak = memory_readers()
    try:
        _preload(subject)
        baseline = now() / MEGABYTE
        start = time.perf_counter()
        queries, described = _open(subject)
        load_ms = (time.perf_counter() - start) * 1e3
        first_ms = {entry: time_queries(query, 1, 0)[0][0] for entry, query in queries.items()}
    except (CplEdgeError, RuntimeError, ValueError) as error:  # runtimes raise what they like
        answer({"refused": (str(error).strip() or type(error).__name__).splitlines()[0]})
        return
    answer({"load_ms": load_ms, "first_ms": first_ms, "baseline_mb": baseline, **described})
    gc.disable()  # what the loop makes is freed by counting
    for line in commands:
        asked = json.loads(line)
        if not asked:
            answer({"peak_mb": peak() / MEGABYTE})
            continue
        times, cpu = time_queries(queries[asked["entry"]], asked["queries"], asked["seconds"])
        answer({"times_ms": times, "cpu_seconds": cpu})


def time_queries(query: Query, queries: int, seconds: float) -> tuple[list[float], float]:
    """Call until a number of queries or seconds is reached, once at least.

    Returns:
        Milliseconds of each call, and the processor time of all, in seconds.
    """
    times: list[float] = []
    cpu = time.process_time()
    begin = time.perf_counter()
    while len(times) < queries or not times:
        start = time.perf_counter()
        query()
        end = time.perf_counter()
        times.append((end - start) * 1e3)
        if end - begin >= seconds:
            break
    return times, time.process_time() - cpu


def _preload(subject: Subject) -> None:
    """Load the runtime's library, whose time and memory are not the model's."""
    library = LIBRARIES.get(SUFFIXES.get(subject.path.suffix.lower(), ""))
    if library is not None:
        try:
            importlib.import_module(library)
        except ImportError:
            return  # opening the file says what is missing, in one line


def _open(subject: Subject) -> tuple[dict[str, Query], dict[str, Any]]:
    if subject.raw:
        query, metadata = open_raw(subject.path, subject.threads)
        return {"forward": query}, {"info": None, "metadata": metadata}
    runtime = open_runtime(subject.path, subject.threads)
    named = [entry for entry in subject.entries if entry in runtime.signature]
    entries = named or [entry for entry in runtime.signature if entry == "restore"]
    queries = {entry: _query(runtime, entry) for entry in entries}
    return queries, {"info": json.loads(runtime.info.to_json()), "metadata": {}}


def _query(runtime: Runtime, entry: str) -> Query:
    """A call on a fixed image, in the memory order that costs the runtime no copy."""
    info = runtime.info
    x_BCHW = image_buffer(info)
    x_BCHW[0] = synthetic_photo(info.width, info.height).transpose(2, 0, 1)
    x_BCHW /= np.float32(255)
    arrays = [x_BCHW]
    for shape in runtime.signature[entry][1:]:
        w_BSN = np.zeros(shape, np.float32)
        w_BSN[..., 0] = 1
        arrays.append(w_BSN)
    return lambda: runtime.run(entry, *arrays)


def main() -> None:
    """Speak on the process's stdin and stdout."""
    kind, path, threads, entries = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    subject = Subject("", kind == "raw", Path(path), int(threads), tuple(entries.split(",")))
    serve(subject, sys.stdin, answers)


if __name__ == "__main__":
    main()
