"""The model file that a profile is about, and the parts of a table that it tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.machine import machine
from cpl_edge.profile.advice import outside_of
from cpl_edge.profile.events import Event, make_rows
from cpl_edge.profile.graph import Graph, of_entry, read_graphs
from cpl_edge.profile.quiet import quiet
from cpl_edge.profile.schema import Call, Device, Kind, Profile
from cpl_edge.runtimes import open_runtime
from cpl_edge.runtimes.info import ModelInfo

NOT_HERE = "Not run on a phone here: the figures come from the imported file."
ON_HOST = "Run on this machine, not on a phone."


@dataclass(frozen=True)
class Model:
    """A model file at hand, or nothing of it.

    Attributes:
        path: the file, or None.
        info: its description, or None.
        graphs: its operators, see `cpl_edge.profile.graph`.
    """

    path: Path | None = None
    info: ModelInfo | None = None
    graphs: dict[str, Graph] = field(default_factory=dict)

    def function(self, entry: str | None) -> str:
        """The function of the file that serves an entry point.

        Args:
            entry: its name, or that of one function; ``restore`` of a file with one for each
                degradation is the first of them, which are all alike. None: ``forward``, or
                ``restore`` where a file lacks it.

        Raises:
            UserError: the file has no such entry point.
        """
        if self.info is None:
            return entry or "forward"
        served = self.info.functions
        if entry is None:
            entry = "forward" if "forward" in served else "restore"
        if entry in served:
            return entry
        for name, point in served.items():
            if point == entry:
                return name
        raise UserError(
            f"{self.path} has no entry point {entry!r}: choose from {', '.join(served)}"
        )


def load_model(path: Path | None) -> Model:
    """Read what a model file says about itself.

    Args:
        path: the file, or None.

    Raises:
        UserError: no such file, or not a model of this product.
    """
    if path is None:
        return Model()
    with quiet():  # runtimes and their packages talk while they load
        runtime = open_runtime(path)
        info = runtime.info
        runtime.close()
        return Model(path, info, read_graphs(path))


def here() -> Device:
    """This machine, as a device."""
    found = machine()
    details = {key: str(value) for key, value in found.items() if key != "processor"}
    return Device(name=str(found["processor"]), here=True, details=details)


def assemble(
    kind: Kind,
    source: str,
    events: Iterable[Event],
    model: Model,
    *,
    accelerator: str | None = None,
    calls: Sequence[Call] = (),
    notes: Sequence[str] = (),
    named: str | None = None,
    **known: Any,
) -> Profile:
    """Make a profile: rows from events, what the model file tells, and what was left outside.

    Args:
        kind: of the source.
        source: name of the imported file, or ``measured here``.
        events: in order of execution.
        model: the file at hand, or an empty one.
        accelerator: what should have taken all operators, or None.
        calls: the entry points as wholes; their work is added from the model.
        notes: what a reader must know.
        named: the file's name as the source tells it, where the file is not at hand.
        known: further fields of `cpl_edge.profile.schema.Profile`.
    """
    rows = make_rows(events, model.graphs)
    sums = {call.entry: 0.0 for call in calls}
    for row in rows:
        sums[row.entry] = sums.get(row.entry, 0.0) + (row.microseconds or 0.0) / 1e3
    busy = [
        f"A call of {call.entry} takes {call.p50_ms:.1f} ms, its operators {sums[call.entry]:.1f}: "
        "the device was busy with other work, or spends time between operators."
        for call in calls
        if call.p50_ms and sums[call.entry] and call.p50_ms > 1.3 * sums[call.entry]
    ]
    own: dict[str, Any] = {"model": named}
    if model.path is not None:
        own["model"] = model.path.name
        own["bytes"] = sum(f.stat().st_size for f in _files(model.path))
    if (info := model.info) is not None:
        own |= {
            "student": info.student,
            "target": info.target,
            "precision": info.precision,
            "routing": info.routing,
        }
    return Profile(
        kind=kind,
        source=source,
        accelerator=accelerator,
        calls=tuple(_with_work(call, model) for call in calls),
        rows=rows,
        outside=outside_of(rows, accelerator),
        notes=(*notes, *busy),
        **(own | {key: value for key, value in known.items() if value is not None}),
    )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _with_work(call: Call, model: Model) -> Call:
    graph = of_entry(model.graphs, call.entry)
    if graph is None or call.macs is not None:
        return call
    return call.model_copy(update={"macs": graph.macs})
