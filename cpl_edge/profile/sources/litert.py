"""LiteRT: the per-operator profile of its runtime library, XNNPACK's operators included.

The Python package has no profiler, but the library in it has one in its C API (``litert/c`` of
https://github.com/google-ai-edge/LiteRT; guide: g3doc/apis/litert_profiler_api.md). XNNPACK's own
operators have names such as ``Convolution (NHWC, F32) IGEMM`` and come in the order of the file's,
which is how they find their modules.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from cpl_edge.errors import CplEdgeError
from cpl_edge.profile.events import Event
from cpl_edge.profile.model import ON_HOST, Model, assemble, here
from cpl_edge.profile.schema import Call, Profile
from cpl_edge.profile.sources.litert_library import Library, TimedEvent

ACCELERATOR = "XNNPACK"
_OPERATOR, _INSIDE, _DELEGATE = 2, 4, 8  # LiteRtProfilerEventType
_INVOKE = ("Invoke", 1)  # the call as a whole


def measure(model: Model, entry: str, threads: int, runs: int) -> Profile:
    """Profile a LiteRT build on this machine.

    Args:
        model: a ``.tflite`` build.
        entry: entry point to call.
        threads: CPU threads.
        runs: measured calls, after three that do not count.

    Raises:
        CplEdgeError: the installed library has another interface, or refuses the file.
    """
    assert model.path is not None
    library = Library(model.path, entry, threads)
    try:
        found = library.profile(warmup=3, runs=runs)
    finally:
        library.close()
    return from_events(found, model, entry, threads)


def from_events(found: list[list[TimedEvent]], model: Model, entry: str, threads: int) -> Profile:
    """Make the table of the events of several calls.

    Raises:
        CplEdgeError: the calls differ in their operators.
    """
    whole = [e.microseconds for own in found for e in own if (e.tag, e.type) == _INVOKE]
    kinds = (_OPERATOR, _INSIDE, _DELEGATE)
    calls = [[event for event in own if event.type in kinds] for own in found]
    names = [[(event.tag, event.type, event.index) for event in call] for call in calls]
    if any(own != names[0] for own in names) or len(whole) != len(calls):
        raise CplEdgeError(f"{entry} did not run the same operators in every call: try it again")
    inside = any(event.type in (_INSIDE, _DELEGATE) for event in calls[0])
    events = [
        _event(entry, first, tuple(call[i].microseconds for call in calls))
        for i, first in enumerate(calls[0])
        if not (inside and first.type == _OPERATOR and _is_delegate(first.tag))
    ]
    notes = [ON_HOST, "Times include the profiler's own cost; they are whole microseconds."]
    if not inside:
        notes.append("The delegate told nothing of its own operators: it stands as one row.")
    return assemble(
        "litert",
        "measured here",
        events,
        model,
        accelerator=ACCELERATOR,
        calls=[call_of(entry, whole)],
        notes=notes,
        device=here(),
        threads=threads,
        runtime=f"LiteRT {version('ai-edge-litert')}",
    )


def call_of(entry: str, microseconds: list[float]) -> Call:
    """Statistics of whole calls."""
    ms = np.asarray(microseconds) / 1e3
    p50, p90 = np.percentile(ms, [50, 90]).tolist()
    return Call(
        entry=entry,
        runs=len(ms),
        mean_ms=float(ms.mean()),
        p50_ms=p50,
        p90_ms=p90,
        min_ms=float(ms.min()),
        max_ms=float(ms.max()),
    )


def _event(entry: str, event: TimedEvent, times: tuple[float, ...]) -> Event:
    own: dict[str, Any] = {"delegate": ACCELERATOR, "name": f"{event.tag} #{event.index}"}
    if event.type == _OPERATOR:  # a node of the file, run by LiteRT's own kernel
        own |= {"delegate": ACCELERATOR if _is_delegate(event.tag) else "CPU"}
        own |= {"aliases": frozenset({f"#{event.index}"})}
    return Event(entry=entry, operator=event.tag, times=times, **own)


def _is_delegate(tag: str) -> bool:
    return "Delegate" in tag or tag == "DELEGATE"
