"""Milliseconds of the candidates' model files, timed together in interleaved rounds.

Times depend on the shape and not on the weights, so one finished run of each candidate is enough.
A file that misses a gate of quality is timed as well: the search judges quality by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpl_edge.benchmark.builds import Build
from cpl_edge.benchmark.latency import run_latency
from cpl_edge.benchmark.suites import LatencySuite, Rule
from cpl_edge.cli import write_json
from cpl_edge.errors import UserError
from cpl_edge.export.build import export
from cpl_edge.export.recipe import read_recipes
from cpl_edge.search.results import Run

FILE = "latency.json"
RULE = Rule(queries=200, seconds=4.0, rounds=10, warmup=1.0)
TARGETS = (("litert", "dynamic"), ("executorch", "dynamic"), ("litert", "fp32"), ("onnx", "fp32"))


def measure_latency(runs: Sequence[Run], out: Path, data: Path | None, rule: Rule) -> None:
    """Build and time the first finished run of each candidate; write ``latency.json``.

    Args:
        runs: finished ones, in the order of the plan.
        out: folder of the runs.
        data: photos that int8 ranges are taken from; None for those of scikit-image.
        rule: how often each file is called.

    Raises:
        MissingExtra: a target's packages are not installed.
        CplEdgeError: a converter failed.
    """
    first = {run.candidate: run for run in reversed(runs)}
    builds, why_not = [], {}
    for name in dict.fromkeys(run.candidate for run in runs):
        weights = out / first[name].name / "student.safetensors"
        try:
            builds += _build(name, weights, data)
        except UserError as error:
            why_not[name] = str(error)
    suite = LatencySuite(
        name="search", about="candidates", threads=(1,), roofline=False, full=rule, quick=rule
    )
    measured: dict[str, dict[str, float]] = {}
    rows: list[dict[str, Any]] = []
    if builds:
        timed = run_latency(suite, builds)
        for row in timed.rows:
            name, target = row.name.split(": ")
            if row.p50_ms is not None:
                measured.setdefault(name, {})[target] = round(row.p50_ms, 3)
        rows = [row.model_dump(mode="json") for row in timed.rows]
    write_json(out / FILE, {"measured_ms": measured, "why_not": why_not, "rows": rows})


def _build(name: str, weights: Path, data: Path | None) -> list[Build]:
    recipes = [read_recipes(target, precision=precision)[0] for target, precision in TARGETS]
    made = []
    folder = weights.parent / "builds"
    for outcome, (target, precision) in zip(
        export(recipes, str(weights), folder, data, keep_refused=True), TARGETS, strict=True
    ):
        assert outcome.folder is not None
        (file,) = (path for path in outcome.folder.glob("model.*"))
        made.append(Build(f"{name}: {target} {precision}", file, f"{outcome.folder.name}"))
    return made


def with_latency(runs: Sequence[Run], out: Path) -> tuple[Run, ...]:
    """The runs, with what :func:`measure_latency` found, if it has been called."""
    path = out / FILE
    if not path.is_file():
        return tuple(runs)
    found = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        run.model_copy(
            update={
                "latency_ms": found["measured_ms"].get(run.candidate, {}),
                "not_exported": found["why_not"].get(run.candidate),
            }
        )
        for run in runs
    )
