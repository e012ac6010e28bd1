"""The card of a build: what it is, what was measured, and on which machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpl_edge.export.gate import Build, GateResult
from cpl_edge.export.halo import Halo
from cpl_edge.export.program import Program
from cpl_edge.machine import machine, versions
from cpl_edge.quantize.preparation import Quantization

FILE = "card.json"


def make_card(build: Build, results: list[GateResult], source: str, halo: Halo) -> dict[str, Any]:
    """Everything that a reader of a build should know, as plain values.

    Args:
        build: a build whose gates have run.
        results: of its gates.
        source: where the crops come from.
        halo: of the file, and what it costs on the crops.
    """
    card: dict[str, Any] = {
        "student": build.program.info.student,
        "digest": build.program.info.digest,
        "model": build.path.name,
        "recipe": build.recipe.model_dump(mode="json", exclude={"limits"}),
        "gates": [asdict(result) for result in results],
    }
    if refused := [result.name for result in results if result.passed is False]:
        card["refused"] = refused
    if reasons := [result.why for result in results if result.passed is None]:
        card["executed"] = reasons[0]  # times of a stand-in would say nothing
    else:
        card["executed"] = f"{build.target.name} on this machine, 1 thread"
        card["load_ms"] = round(build.measurement.load_ms, 1)
        card["latency_ms"] = {
            name: round(ms, 2) for name, ms in build.measurement.latency_ms.items()
        }
    if any(result.name == "parity" and result.passed is not None for result in results):
        card["quality"] = build.measurement.quality()
    if build.program.quantization is not None:
        card["quantization"] = _quantization(build.program, build.program.quantization)
    card |= {
        "bytes": file_size(build.path),
        "entry_points": list(build.program.info.entry_points),
        "accelerator": build.target.accelerator,
        "operators": build.inspection.operators,
        "outside": build.inspection.outside,
        "partitions": build.inspection.partitions,
        "crops": {
            "source": source,
            "count": len(build.crops),
            "degradations": sorted({crop.degradation for crop in build.crops}),
            "photos": sorted({crop.photo for crop in build.crops}),
            "digest": build.crops_digest,
        },
        "halo": halo._asdict(),
        "info": json.loads(build.program.info.to_json()),
        "versions": versions(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return card


def _quantization(program: Program, how: Quantization) -> dict[str, Any]:
    """What was rounded and how; of a file of several functions, the crops of each of them."""
    card = how.to_card()
    each = {name: member.quantization for name, member in program.members.items()}
    crops = {
        name: one.calibration.to_card() for name, one in each.items() if one and one.calibration
    }
    if crops:
        del card["calibration"]  # that of the first
        card["calibrations"] = crops
    return card


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Write a card beside its model."""
    (folder / FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def file_size(path: Path) -> int:
    """Bytes of a model file, or of all files in a model folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
