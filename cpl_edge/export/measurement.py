"""A build run beside its student, crop by crop: what gates and cards report."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cpl_edge.export.crops import Crop
from cpl_edge.models.student import Student
from cpl_edge.runtimes import ModelInfo, Runtime, open_runtime
from cpl_edge.runtimes.protocol import FloatArray

PERFECT_DB = 200.0
"""Stands for the infinite PSNR of equal images, which JSON cannot hold."""


@dataclass(frozen=True)
class Reference:
    """What the fp32 student answers: arrays as runtimes give them."""

    y_BCHW: FloatArray
    w_BSN: FloatArray
    logits_BSL: FloatArray


@dataclass(frozen=True)
class Row:
    """One crop.

    Attributes:
        photo: name of its photo.
        degradation: what was done to it.
        max_abs: largest difference of any output of any entry point, relative to half the
            output's largest value where that is above 2 (see :func:`_difference`); infinite if one
            has a problem.
        parity_db: PSNR of the restored crop against the student's, the worse entry point.
        residual_db: the same of output minus input, the peak being the largest residual.
        input_db: PSNR of the crop itself against the clean one.
        student_db: PSNR of the student's output against the clean crop.
        build_db: PSNR of the build's output against the clean crop, the worse entry point.
        selected: the degradation that build and student select; equal where nothing is routed.
        problem: outputs of a wrong shape or type, or not finite; empty if in order.
        told: restored by the function of the crop's degradation, which no router selected for it.
    """

    photo: str
    degradation: str
    max_abs: float
    parity_db: float
    residual_db: float
    input_db: float
    student_db: float
    build_db: float
    selected: tuple[int, int]
    problem: str
    told: bool = False

    @property
    def drop(self) -> float:
        """Lost quality in dB."""
        return self.student_db - self.build_db


@dataclass(frozen=True)
class Measurement:
    """All crops, and times on one thread, which are recorded but never decide.

    Attributes:
        info: what the file says about itself.
        rows: one for each crop.
        load_ms: time to open the file.
        latency_ms: entry point -> median time of a call.
    """

    info: ModelInfo
    rows: list[Row]
    load_ms: float
    latency_ms: dict[str, float]

    def quality(self) -> dict[str, dict[str, Any]]:
        """Degradation -> what a build is worth on its crops, in dB.

        PSNR of input, student and build; mean and worst drop, and the photo of the worst; the
        smallest PSNR between build and student.
        """
        table: dict[str, dict[str, Any]] = {}
        for degradation in dict.fromkeys(row.degradation for row in self.rows):
            rows = [row for row in self.rows if row.degradation == degradation]
            table[degradation] = {
                "input": round(statistics.mean(row.input_db for row in rows), 3),
                "student": round(statistics.mean(row.student_db for row in rows), 3),
                "build": round(statistics.mean(row.build_db for row in rows), 3),
                "drop_mean": statistics.mean(row.drop for row in rows),
                "drop_worst": max(row.drop for row in rows),
                "worst": max(rows, key=lambda row: row.drop).photo,
                "parity": min(row.parity_db for row in rows),
                "crops": len(rows),
            }
        return table


def reference(student: Student, x_BCHW: Tensor, pinned_N: Tensor | None = None) -> Reference:
    """Run the student on one crop, with its own routing or with pinned weights."""
    with torch.inference_mode():
        logits_BSL = student.logits(x_BCHW)
        w_BSN = student.select(logits_BSL) if pinned_N is None else pinned_N[None, None]
        y_BCHW = student.restore(x_BCHW, w_BSN)
    return Reference(y_BCHW.numpy(), w_BSN.numpy(), logits_BSL.numpy())


def measure(
    path: Path, student: Student, crops: Sequence[Crop], pinned_N: Tensor | None = None
) -> Measurement:
    """Run every entry point of a model file on every crop, and the student beside it.

    Where each degradation has convolutions of its own, crops that the router sends elsewhere are
    also restored by their degradation's function, so that no function is left out by a mistake.

    Args:
        path: the model file.
        student: the fp32 student, not pinned.
        crops: of the size of the file.
        pinned_N: prompt weights that were folded into the file, if any.
    """
    start = time.perf_counter()
    runtime = open_runtime(path)
    load_ms = (time.perf_counter() - start) * 1e3
    try:
        times: dict[str, list[float]] = {name: [] for name in runtime.info.entry_points}
        rows = []
        for crop in crops:
            expected = reference(student, crop.x_BCHW, pinned_N)
            rows.append(_compare(crop, expected, runtime, student, times))
            known = student.config.degradations
            if runtime.info.own and crop.degradation != known[_top(expected.w_BSN, student)]:
                rows.append(_told(crop, runtime, student, times))
    finally:
        runtime.close()
    latency = {name: statistics.median(values) for name, values in times.items() if values}
    return Measurement(runtime.info, rows, load_ms, latency)


def _told(crop: Crop, runtime: Runtime, student: Student, times: dict[str, list[float]]) -> Row:
    """A crop restored with the prompts and the function of what was done to it."""
    index = student.config.degradations.index(crop.degradation)
    with torch.inference_mode():
        w_BSN = student.forced(student.logits(crop.x_BCHW), torch.tensor([index]))
    expected = reference(student, crop.x_BCHW, w_BSN[0, 0])
    return replace(_compare(crop, expected, runtime, student, times, ("restore",)), told=True)


def _compare(
    crop: Crop,
    expected: Reference,
    runtime: Runtime,
    student: Student,
    times: dict[str, list[float]],
    entries: tuple[str, ...] | None = None,
) -> Row:
    x_BCHW: FloatArray = crop.x_BCHW.numpy()
    clean_BCHW: FloatArray = crop.clean_BCHW.numpy()
    calls: dict[str, tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]] = {
        "forward": ((x_BCHW,), (expected.y_BCHW,)),
        "route": ((x_BCHW,), (expected.w_BSN, expected.logits_BSL)),
        "restore": ((x_BCHW, expected.w_BSN), (expected.y_BCHW,)),
    }
    problems: list[str] = []
    max_abs, restored = 0.0, []
    selected = _top(expected.w_BSN, student)
    found = selected
    for name in entries or runtime.info.entry_points:
        inputs, wanted = calls[name]
        start = time.perf_counter()
        try:
            outputs = runtime.run(name, *inputs)
        except RuntimeError as error:  # an accelerator that refuses the file only when it runs
            lines = str(error).splitlines() or [type(error).__name__]
            problems.append(f"{name} does not run: {lines[0]}")
            max_abs = math.inf
            continue
        times[name].append((time.perf_counter() - start) * 1e3)
        if problem := _problem(name, outputs, wanted):
            problems.append(problem)
            max_abs = math.inf
            continue
        differences = [_difference(o, w) for o, w in zip(outputs, wanted, strict=True)]
        max_abs = max(max_abs, *differences)
        if name == "route":
            found = _top(outputs[0], student)
        else:
            restored.append(outputs[0])
    peak = float(np.abs(expected.y_BCHW - x_BCHW).max())
    return Row(
        photo=crop.photo,
        degradation=crop.degradation,
        max_abs=max_abs,
        parity_db=min((psnr(y, expected.y_BCHW) for y in restored), default=0.0),
        residual_db=min((psnr(y, expected.y_BCHW, peak) for y in restored), default=0.0),
        input_db=psnr(x_BCHW, clean_BCHW),
        student_db=psnr(np.clip(expected.y_BCHW, 0, 1), clean_BCHW),
        build_db=min((psnr(np.clip(y, 0, 1), clean_BCHW) for y in restored), default=0.0),
        selected=(found, selected),
        problem="; ".join(problems),
    )


def _difference(found: FloatArray, wanted: FloatArray) -> float:
    """Largest difference, in units of half the largest value wanted where that is above 2.

    Images and weights end near 1, so for them this is the absolute difference. A trained router's
    logits reach hundreds, where fp32 itself is coarser than 1e-5.
    """
    scale = max(1.0, float(np.abs(wanted).max()) / 2)
    return float(np.abs(found - wanted).max()) / scale


def psnr(a: FloatArray, b: FloatArray, peak: float = 1.0) -> float:
    """PSNR in dB for a given peak; :data:`PERFECT_DB` for equal arrays."""
    mse = float(np.mean(np.square(a - b), dtype=np.float64))
    if mse == 0:
        return PERFECT_DB
    if peak == 0:
        return 0.0
    return min(PERFECT_DB, 10 * math.log10(peak * peak / mse))


def _problem(name: str, outputs: tuple[FloatArray, ...], wanted: tuple[FloatArray, ...]) -> str:
    if [o.shape for o in outputs] != [w.shape for w in wanted]:
        return f"{name} gives shapes {[o.shape for o in outputs]}"
    if any(o.dtype != np.float32 for o in outputs):
        return f"{name} gives {[str(o.dtype) for o in outputs]}"
    if not all(np.isfinite(o).all() for o in outputs):
        return f"{name} gives values that are not finite"
    return ""


def _top(w_BSN: FloatArray, student: Student) -> int:
    """Index of the selected degradation."""
    return int(w_BSN.argmax()) // student.config.levels
