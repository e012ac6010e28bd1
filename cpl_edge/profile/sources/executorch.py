"""ExecuTorch: whole calls here, single operators from an ETDump made where a tracer was built in.

The Python package is built without the event tracer (``EXECUTORCH_ENABLE_EVENT_TRACER``), so on
this machine only whole calls can be timed; what is inside is told from the file.
https://docs.pytorch.org/executorch/stable/etdump.html
"""

from __future__ import annotations

import math
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.profile.events import Event
from cpl_edge.profile.graph import of_entry
from cpl_edge.profile.model import NOT_HERE, ON_HOST, Model, assemble, here
from cpl_edge.profile.quiet import quiet
from cpl_edge.profile.schema import Profile
from cpl_edge.profile.sources.litert import call_of
from cpl_edge.runtimes import open_runtime

ACCELERATOR = "XNNPACK"
_NO_TRACER = (
    "ExecuTorch's Python package has no event tracer: only the whole call is timed here. Run the "
    "file with a runner built with EXECUTORCH_ENABLE_EVENT_TRACER and import its ETDump."
)
_METHOD = "Method::execute"
_HOUSEKEEPING = ("Program::", "Method::", "Backend", "ET_", "Model::")
_MAGIC = slice(8, 12)  # behind the size prefix and the root's offset


def measure(model: Model, entry: str, threads: int, runs: int) -> Profile:
    """Time whole calls of an ExecuTorch build, and list its operators.

    Args:
        model: a ``.pte`` build.
        entry: entry point to call.
        threads: of the process's pool.
        runs: measured calls, after three that do not count.
    """
    assert model.path is not None
    with quiet():
        runtime = open_runtime(model.path, threads)
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape, dtype=np.float32) for shape in runtime.signature[entry]]
    times = []
    for _ in range(3 + runs):
        start = time.perf_counter()
        runtime.run(entry, *arrays)
        times.append((time.perf_counter() - start) * 1e6)
    runtime.close()
    graph = of_entry(model.graphs, entry)
    left = {id(node) for node in graph.left} if graph else set()
    events = [
        Event(
            entry=entry,
            name=f"{node.operator} #{i}",
            operator=node.operator,
            delegate="CPU" if id(node) in left else ACCELERATOR,
            macs=node.macs,
            channels=node.channels,
        )
        for i, node in enumerate(graph.nodes if graph else [])
    ]
    return assemble(
        "executorch",
        "measured here",
        events,
        model,
        accelerator=ACCELERATOR,
        calls=[call_of(entry, times[3:])],
        notes=[ON_HOST, _NO_TRACER],
        device=here(),
        threads=threads,
        runtime=f"ExecuTorch {version('executorch')}",
    )


def recognise(head: bytes) -> bool:
    """Whether a file starts like an ETDump: a size-prefixed flatbuffer called ED00."""
    return head[_MAGIC] == b"ED00"


def parse(path: Path, model: Model, entry: str, etrecord: Path | None = None) -> Profile:
    """Read an ETDump with ExecuTorch's Inspector.

    Args:
        path: the ETDump.
        model: the file that was profiled, for modules and work; may be empty.
        entry: which method was run; an ETDump does not tell.
        etrecord: made at export; tells the modules of operators that were not delegated.

    Raises:
        UserError: not a whole ETDump, or one without a run.
        MissingExtra: ExecuTorch is not installed.
    """
    inspector = require("executorch.devtools.inspector", extra="executorch")
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no tensors beside the times
            blocks = inspector.Inspector(
                etdump_path=str(path),
                etrecord=str(etrecord) if etrecord else None,
                source_time_scale=inspector.TimeScale.NS,
                target_time_scale=inspector.TimeScale.US,
                enable_module_hierarchy=etrecord is not None,
            ).event_blocks
    # The Inspector asserts, and flatc and the record's reader raise what they like.
    except Exception as error:
        raise UserError(f"{path} is no whole ETDump: pull it from the device again") from error
    whole: list[float] = []
    events: list[Event] = []
    load_us: float | None = None
    for block in blocks:
        own = [e for e in block.events if e.perf_data is not None]
        whole += [t for e in own if e.name == _METHOD for t in e.perf_data.raw]
        loads = [median(e.perf_data.raw) for e in own if e.name == "Program::load_method"]
        load_us = sum(loads) if loads else load_us
        if any(e.name == _METHOD for e in own):
            events += _events(own, entry)
    if not whole:
        raise UserError(f"{path} holds no run of a method: run the model before writing the ETDump")
    delegates = sorted({event.delegate for event in events} - {"CPU"})
    notes = [NOT_HERE, f"The file does not tell the entry point: {entry} was assumed."]
    if etrecord is None:
        notes.append(
            "Without an ETRecord: modules come from names in the model and from the order."
        )
    return assemble(
        "etdump",
        path.name,
        events,
        model,
        accelerator=delegates[0] if delegates else None,
        calls=[call_of(entry, whole)],
        notes=notes,
        runtime="ExecuTorch",
        load_ms=load_us / 1e3 if load_us is not None else None,
    )


def _events(own: list[Any], entry: str) -> list[Event]:
    """Operators of one block; a delegate's call as a whole only where it tells nothing inside."""
    inside = {e._instruction_id for e in own if e.is_delegated_op}
    backends = {
        e._instruction_id: e.delegate_backend_name
        for e in own
        if e.delegate_backend_name is not None
    }
    made = []
    for e in own:
        whole = e.name == "DELEGATE_CALL"
        if (whole and e._instruction_id in inside) or (
            not e.is_delegated_op and e.name.startswith(_HOUSEKEEPING)
        ):
            continue
        if e.name == "OPERATOR_CALL" and any(
            o is not e and o._instruction_id == e._instruction_id and not o.is_delegated_op
            for o in own
        ):
            continue  # the kernel's own event has the name
        on_delegate = bool(e.is_delegated_op) or whole
        backend = backends.get(e._instruction_id)
        times = tuple(float(t) for t in e.perf_data.raw if math.isfinite(t))
        made.append(
            Event(
                entry=entry,
                name=e.name,
                operator=_operator(e),
                delegate=_delegate(backend, e.name) if on_delegate else "CPU",
                times=times,
                module=_module(e),
            )
        )
    return made


def _operator(event: Any) -> str:
    name = str(event.name).removeprefix("native_call_")
    return name.rpartition(" #")[0] or name


def _delegate(backend: str | None, name: str) -> str:
    """Backend by its name; XNNPACK's operators are known by theirs, ``... (NHWC, F32) ... #3``."""
    if backend:
        return backend.removesuffix("Backend").replace("Xnnpack", ACCELERATOR)
    return ACCELERATOR if " #" in name else "delegate"


def _module(event: Any) -> str | None:
    """Module of an operator that an ETRecord knows, or None."""
    from cpl_edge.profile.places import module_from_path
    from cpl_edge.profile.schema import UNKNOWN

    for hierarchy in (event.module_hierarchy or {}).values():
        for path in reversed([str(v[0]) for v in (hierarchy or {}).values()]):
            module = module_from_path(path)
            if module != UNKNOWN:
                return module
    return None
