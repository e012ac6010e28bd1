"""Core ML performance reports as JSON: operators with their compute unit and estimated time.

Xcode shows a report of a model's load, compilation and prediction time, and for each operation its
supported and chosen compute unit and its estimated share
(https://developer.apple.com/videos/play/wwdc2024/10161). Apple documents no schema for the JSON,
and no Xcode was at hand here: this reader takes the fields under the names of ``MLComputePlan``
and of the report's columns, in any spelling of case, dash, underscore or blank, and refuses what
it does not find. A script on a Mac can write the same from
``coremltools.models.compute_plan.MLComputePlan``.
"""

from __future__ import annotations

import re
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.profile.events import Event
from cpl_edge.profile.model import NOT_HERE, Model, assemble
from cpl_edge.profile.places import module_from_path
from cpl_edge.profile.schema import UNKNOWN, Call, Device, Profile

ACCELERATOR = "Neural Engine"
_OPERATIONS = ("operations", "layers", "operationcosts")
_NAME = ("name", "operationname", "output", "layername")
_KIND = ("type", "operatorname", "operationtype", "op", "layertype")
_UNIT = ("computeunit", "preferredcomputedevice", "preferred", "computedevice", "device", "unit")
_MS = ("estimatedtimems", "estimatedms", "timems", "medianms", "costms")
_SHARE = ("weight", "estimatedcost", "cost", "share")
_PREDICTION = ("medianpredictionms", "predictionmedianms", "predictionms", "predictiontimems")
_LOAD = ("medianloadms", "loadmedianms", "loadms", "loadtimems")
_DEVICE = ("device", "devicename", "hardware")
_MODEL = ("model", "modelname", "file")


def recognise(data: Any) -> bool:
    """Whether JSON is such a report: an object with operations that tell their compute unit."""
    if not isinstance(data, dict):
        return False
    operations = _find(data, _OPERATIONS)
    return (
        isinstance(operations, list)
        and bool(operations)
        and all(isinstance(op, dict) for op in operations)
        and _find(operations[0], _UNIT) is not None
    )


def parse(data: Any, source: str, model: Model, entry: str) -> Profile:
    """Read a performance report.

    Args:
        data: the JSON object.
        source: name of the file.
        model: the package that was measured; only its name is used.
        entry: which function was measured, if the report does not tell.

    Raises:
        UserError: an operation without name, type or compute unit.
    """
    entry = str(_find(data, ("function", "functionname", "entrypoint")) or entry)
    prediction = _number(_find(data, _PREDICTION))
    operations = _find(data, _OPERATIONS)
    events = []
    for i, operation in enumerate(operations):
        name, kind, unit = (_find(operation, keys) for keys in (_NAME, _KIND, _UNIT))
        if kind is None or unit is None:
            known = ", ".join(sorted(operation))
            raise UserError(
                f"{source}: operation {i} lacks its type or compute unit; it has {known}: "
                "export the report again"
            )
        ms, share = _number(_find(operation, _MS)), _number(_find(operation, _SHARE))
        if ms is None and share is not None and prediction is not None:
            ms = share * prediction
        module = module_from_path(str(name or "").replace("_", "."))
        events.append(
            Event(
                entry=entry,
                name=str(name or f"#{i}"),
                operator=str(kind).rpartition(".")[2],
                delegate=_unit(str(unit)),
                times=() if ms is None else (ms * 1e3,),
                module=None if module == UNKNOWN else module,
            )
        )
    notes = [
        NOT_HERE,
        "Times of operations are Core ML's estimates, not measurements.",
        "The layout of this report is not documented by Apple and was never checked with Xcode.",
    ]
    calls = [Call(entry=entry, p50_ms=prediction)] if prediction is not None else []
    told = _find(data, _MODEL)
    return assemble(
        "coreml",
        source,
        events,
        model,
        accelerator=ACCELERATOR,
        calls=calls,
        notes=notes,
        device=Device(name=str(_find(data, _DEVICE) or UNKNOWN)),
        runtime="Core ML",
        load_ms=_number(_find(data, _LOAD)),
        named=None if told is None else str(told),
        target="coreml",
    )


def _find(values: Any, keys: tuple[str, ...]) -> Any:
    """First of the keys that an object has, whatever their spelling."""
    if not isinstance(values, dict):
        return None
    plain = {re.sub(r"[-_ ()]", "", str(key)).lower(): value for key, value in values.items()}
    return next((plain[key] for key in keys if key in plain), None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value >= 0 else None


def _unit(text: str) -> str:
    word = text.lower().replace(" ", "")
    if "neural" in word or word in ("ane", "ne"):
        return ACCELERATOR
    return "GPU" if "gpu" in word else "CPU" if "cpu" in word else UNKNOWN
