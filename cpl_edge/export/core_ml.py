"""Core ML against the reference evaluator that takes its place off a Mac."""

from __future__ import annotations

import platform
from contextlib import closing

import numpy as np

from cpl_edge.export.gate import Build, GateResult, at_least
from cpl_edge.export.measurement import psnr, reference
from cpl_edge.runtimes import open_runtime

STAND_IN = "evaluated by the reference evaluator, not by Core ML"
"""What a card says where Core ML does not run."""

_CROPS = 4
_LIMIT_DB = 50.0  # that of fp16: both round the same program, in other orders of their sums


def core_ml(build: Build) -> GateResult:
    """On macOS both run the package; their images agree. Elsewhere it says who ran the others."""
    if platform.system() != "Darwin":
        return GateResult("core_ml", None, None, None, STAND_IN)
    worst, name = float("inf"), build.program.info.entry_points[-1]
    with (
        closing(open_runtime(build.path, runtime="coreml")) as real,
        closing(open_runtime(build.path, runtime="mil")) as evaluator,
    ):
        for crop in build.crops[:_CROPS]:
            arrays = [crop.x_BCHW.numpy()]
            if name == "restore":
                arrays.append(reference(build.student, crop.x_BCHW, build.pinned_N).w_BSN)
            (found,), (expected,) = (each.run(name, *arrays) for each in (real, evaluator))
            worst = min(worst, psnr(np.asarray(found), np.asarray(expected)))
    why = "Core ML computes something else than its program says, or the evaluator is wrong"
    return at_least("core_ml", worst, _LIMIT_DB, why, "dB between Core ML and the evaluator")
