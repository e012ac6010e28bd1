"""ONNX Runtime: its own profile, a JSON list of trace events; measured here or imported.

https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.profile.events import Event
from cpl_edge.profile.graph import GRAPH
from cpl_edge.profile.model import NOT_HERE, ON_HOST, Model, assemble, here
from cpl_edge.profile.places import kind_of
from cpl_edge.profile.schema import UNKNOWN, Call, Profile
from cpl_edge.runtimes.info import restorer
from cpl_edge.runtimes.onnx import OnnxRuntime

CPU = "CPUExecutionProvider"
_BRANCHES = "If"
"""Its time is that of the branch that it ran, whose operators have events of their own."""
_WHOLE = "ONNX has one graph: ONNX Runtime computes all of it, whatever is asked for."


def measure(model: Model, entry: str, threads: int, runs: int) -> Profile:
    """Profile an ONNX build on this machine.

    Args:
        model: an ``.onnx`` build.
        entry: entry point to call, or what restores one degradation where each has its own.
        threads: inside one operator.
        runs: measured calls, after three that do not count.
    """
    ort = require("onnxruntime", extra="onnx")
    assert model.path is not None and model.info is not None
    opened = OnnxRuntime(model.path, threads)
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(str(model.path), options, providers=[CPU])
        rng = np.random.default_rng(0)
        point = model.info.functions.get(entry, entry)
        restorers = [restorer(name) for name in model.info.degradations]
        shapes = opened.signature[point]
        arrays = [rng.random(shape, dtype=np.float32) for shape in shapes]
        if entry in restorers:  # the graph chooses by the weights
            arrays[1][:] = 0
            arrays[1][..., restorers.index(entry) * model.info.levels] = 1
        feed = dict(zip(opened._inputs, arrays, strict=False))
        for _ in range(3 + runs):
            session.run(opened._outputs[point], feed)
        data = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    opened.close()
    return parse(
        data,
        "measured here",
        model,
        entry,
        skip=3,
        notes=[ON_HOST, "Times include the profiler's own cost."],
        device=here(),
        threads=threads,
        runtime=f"ONNX Runtime {ort.__version__}",
    )


def recognise(data: Any) -> bool:
    """Whether JSON is a profile of ONNX Runtime."""
    return (
        isinstance(data, list)
        and any(isinstance(e, dict) and e.get("cat") == "Session" for e in data)
        and any(_is_kernel(e) for e in data)
    )


def parse(
    data: Any,
    source: str,
    model: Model,
    entry: str,
    skip: int = 1,
    notes: list[str] | None = None,
    **known: Any,
) -> Profile:
    """Read a profile of ONNX Runtime.

    Args:
        data: the JSON list.
        source: name of the file.
        model: the file that was profiled, for modules and exact work; may be empty.
        entry: which entry point was called; the profile does not tell.
        skip: calls at the start that do not count; one, the cold one, if there are more.
        notes: instead of those of an imported file.
        known: further fields of the profile.

    Raises:
        UserError: the profile holds no complete call.
    """
    whole = [e["dur"] for e in data if e.get("cat") == "Session" and e["name"] == "model_run"]
    skip = min(skip, len(whole) - 1)
    if not whole:
        raise UserError(f"{source} holds no complete call: end the profile after at least one")
    kernels: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for event in filter(_is_kernel, data):
        kernels.setdefault((event["name"], event["args"].get("node_index")), []).append(event)
    events = [_event(entry, own, skip) for own in kernels.values()]
    providers = {event.delegate for event in events}
    asked = sorted(providers - {CPU, UNKNOWN})
    if notes is None:
        notes = [NOT_HERE, f"The file does not tell the entry point: {entry} was assumed."]
    if entry == "route" and GRAPH in model.graphs:
        notes = [*notes, _WHOLE]
    if not asked:
        notes = [*notes, "The CPU provider runs every operator: no accelerator was asked for."]
    kept = sorted(whole[skip:])
    return assemble(
        "onnxruntime",
        source,
        events,
        model,
        accelerator=asked[0] if asked else None,
        calls=[
            Call(
                entry=entry,
                runs=len(kept),
                mean_ms=sum(kept) / len(kept) / 1e3,
                p50_ms=float(np.percentile(kept, 50)) / 1e3,
                p90_ms=float(np.percentile(kept, 90)) / 1e3,
                min_ms=kept[0] / 1e3,
                max_ms=kept[-1] / 1e3,
                first_ms=whole[0] / 1e3,
            )
        ],
        notes=notes,
        **({"runtime": "ONNX Runtime"} | known),
    )


def _is_kernel(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and event.get("cat") == "Node"
        and str(event.get("name", "")).endswith("_kernel_time")
        and event.get("args", {}).get("op_name", _BRANCHES) != _BRANCHES
    )


def _event(entry: str, own: list[dict[str, Any]], skip: int) -> Event:
    name, args = own[0]["name"].removesuffix("_kernel_time"), own[0]["args"]
    operator = args["op_name"]
    macs, channels = _work(operator, args)
    times = [float(event["dur"]) for event in own]
    # Optimisers rename what they touch: the output of a convolution in blocked layout, the first
    # of fused nodes, and so on.
    bare = re.sub(r"_token_\d+$", "", name.removeprefix("fused ").split("/")[0])
    return Event(
        entry=entry,
        name=name,
        operator=operator,
        delegate=args.get("provider") or UNKNOWN,
        times=tuple(times[skip:] or times),
        aliases=frozenset({bare, bare.removesuffix("_nchwc")}),
        macs=macs,
        channels=channels,
    )


def _work(operator: str, args: dict[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    """Multiply-accumulates and channels from the shapes, which the optimiser may have padded."""
    kind = kind_of(operator)
    if kind == "other":
        return 0, None
    given, out = (_shapes(args.get(key, [])) for key in ("input_type_shape", "output_type_shape"))
    if not given or not out:
        return None, None
    if kind == "linear":
        return given[0][-1] * math.prod(out[0]), (given[0][-1], out[0][-1])
    weights = next((shape for shape in given[1:] if len(shape) == 4), None)
    if weights is None or len(out[0]) != 4:
        return None, None
    area = given[0][2:] if kind == "deconv" else out[0][2:]
    return math.prod(weights) * math.prod(area), (given[0][1], out[0][1])


def _shapes(told: list[dict[str, list[int]]]) -> list[list[int]]:
    """Shapes of ``[{"float": [1, 32, 63, 63]}, ...]``."""
    return [next(iter(shape.values()), []) for shape in told]
