"""Gates: named checks of a build, each with a figure, a limit and a reason.

A gate that this machine cannot run is reported as not run, with why, and never as passed.
Limits come from the recipe; `GATES` lists the gates of each target.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch

from cpl_edge.errors import UserError
from cpl_edge.export.core_ml import core_ml
from cpl_edge.export.gate import Build, Gate, GateResult, at_least, at_most
from cpl_edge.export.measurement import Row, reference
from cpl_edge.export.targets import coreml as coreml_target
from cpl_edge.runtimes.info import ModelInfo
from cpl_edge.runtimes.protocol import chosen_function


def interface(build: Build) -> GateResult:
    """Shapes, types and finite values of every output."""
    problems = sorted({row.problem for row in build.rows} - {""})
    return GateResult(
        "interface",
        "; ".join(problems) or "as declared",
        "as declared",
        not problems,
        "values that are not finite come from an overflow or a division in the lowered operators"
        if problems
        else "",
    )


def metadata(build: Build) -> GateResult:
    """The file says about itself what the card says."""
    return _metadata("metadata", build, build.measurement.info)


def parity(build: Build) -> GateResult:
    """The file computes what the student computes: max abs, or PSNR of the worst crop."""
    why = _disagreement(build) or "a swap or the converter changed the function"
    if (limit := build.limits.max_abs) is not None:
        worst = max(build.rows, key=lambda row: row.max_abs)
        return at_most("parity", worst.max_abs, limit, why, f"max abs, worst {_crop(worst)}")
    assert build.limits.parity_db is not None
    worst = min(build.rows, key=lambda row: row.parity_db)
    cause = f"{build.recipe.precision} is too coarse for some module, or {why}"
    return at_least("parity", worst.parity_db, build.limits.parity_db, cause, _db(worst))


def residual(build: Build) -> GateResult:
    """PSNR of output minus input: an output can look right whose learned part is noise."""
    worst = min(build.rows, key=lambda row: row.residual_db)
    why = "the learned part is lost although the picture survives: an overflow in the network"
    limit = build.limits.residual_db
    if limit is None:
        return GateResult("residual", worst.residual_db, None, True, _db(worst) + ", reported only")
    return at_least("residual", worst.residual_db, limit, why, _db(worst))


def drop_mean(build: Build) -> GateResult:
    """Mean loss of quality, of the degradation that loses most."""
    table = build.measurement.quality()
    worst = max(table, key=lambda degradation: table[degradation]["drop_mean"])
    why = f"{worst} crops lose most: look at its prompts and at the precision"
    figure = table[worst]["drop_mean"]
    return at_most("drop_mean", figure, build.limits.drop_mean, why, f"dB, {worst}")


def drop_worst(build: Build) -> GateResult:
    """Loss of quality of the crop that loses most."""
    worst = max(build.rows, key=lambda row: row.drop)
    why = f"{_crop(worst)} loses most: {_disagreement(build) or 'look at the precision'}"
    return at_most("drop_worst", worst.drop, build.limits.drop_worst, why, _db(worst))


def routing(build: Build) -> GateResult:
    """The file selects the student's degradation."""
    rows = [row for row in build.rows if not row.told]
    agreement = float(statistics.mean(row.selected[0] == row.selected[1] for row in rows))
    why = "the router must run in fp32, in the same operators"
    limit = build.limits.routing_agreement
    return at_least("routing", agreement, limit, why, f"of {len(rows)} crops")


def delegation(build: Build) -> GateResult:
    """Operators that the accelerator leaves out."""
    inspection, accelerator = build.inspection, build.target.accelerator
    outside = [f"{entry}: {op}" for entry, ops in inspection.outside.items() for op in ops]
    pieces = ", ".join(f"{entry} {n}" for entry, n in inspection.partitions.items())
    why = f"{accelerator} does not take {'; '.join(outside)}"
    known = f"no operator known to leave the {accelerator}"
    remark = f"outside {accelerator}; pieces: {pieces}" if pieces else known
    return at_most("delegation", float(len(outside)), build.limits.outside, why, remark)


def portability(build: Build) -> GateResult:
    """Operators that other accelerators of the format refuse, with the whole file."""
    refused = [f"{entry}: {op}" for entry, ops in build.inspection.unportable.items() for op in ops]
    why = f"GPU delegates refuse a file with {'; '.join(refused)}"
    return at_most("portability", float(len(refused)), 0.0, why, "operators a GPU refuses")


def saved_interface(build: Build) -> GateResult:
    """Core ML: names, shapes and types that the package declares."""
    info = build.program.info
    image = ((1, 3, info.height, info.width), "float32")
    router = len(info.degradations) + info.prompts
    weights = ((1, info.sites, info.prompts), "float32")
    logits = ((1, info.sites, router), "float32")
    expected = {
        "forward": {"x": image, "y": image},
        "route": {"x": image, "w": weights, "logits": logits},
        "restore": {"x": image, "w": weights, "y": image},
    }
    wanted = {name: expected[entry] for name, entry in info.functions.items()}
    found = coreml_target.interface(build.path)
    same = found == wanted
    why = "functions, shapes and types" if same else f"the package declares {found}"
    figure = "as declared" if same else "differs"
    return GateResult("saved_interface", figure, "as declared", same, why)


def saved_metadata(build: Build) -> GateResult:
    """Core ML: the description that travels in the package."""
    text = coreml_target.metadata(build.path)
    try:
        return _metadata("saved_metadata", build, ModelInfo.from_json(text, build.path.name))
    except UserError as error:
        return GateResult("saved_metadata", "none", "equal", False, str(error))


def saved_weights(build: Build) -> GateResult:
    """Core ML: every parameter is a constant of the package, as far as its precision keeps it."""
    missing = coreml_target.missing_weights(build.path, build.program)
    why = f"changed by the converter: {', '.join(missing[:5])}"
    return at_most("saved_weights", float(len(missing)), 0.0, why, "parameters that differ")


def lowered(build: Build) -> GateResult:
    """Core ML: the lowered network, run by torch before conversion, equals the student.

    Fitted weights and corrected biases make it another one in float: then it must equal the student
    that has them, and parity tells how far that is from the original.
    """
    program, worst = build.program, 0.0
    how = program.quantization
    changed = how is not None and how.recipe.changes_function
    names = [name for name in program.info.entry_points if name != "route"]
    for crop in build.crops:
        expected = reference(build.student, crop.x_BCHW, build.pinned_N)
        arrays = (crop.x_BCHW.numpy(), expected.w_BSN)
        w_BSN = torch.from_numpy(expected.w_BSN)
        inputs = {"forward": (crop.x_BCHW,), "restore": (crop.x_BCHW, w_BSN)}
        for name in names:
            function, wanted = chosen_function(program.info, name, arrays), expected.y_BCHW
            if changed:
                with torch.inference_mode():
                    student = program.member(function).student
                    wanted = student.restore(crop.x_BCHW, w_BSN).numpy()
            y_BCHW = program.entries[function](*inputs[name]).numpy()
            worst = max(worst, float(np.abs(y_BCHW - wanted).max()))
    return at_most("lowered", worst, 1e-4, "a swap changed the function", "max abs, in torch")


EXECUTED: tuple[Gate, ...] = (
    interface, metadata, parity, residual, drop_mean, drop_worst, routing,
)  # fmt: skip
"""Gates that run the file, which not every machine can."""

GATES: dict[str, tuple[Gate, ...]] = {
    "executorch": (delegation, *EXECUTED),
    "coreml": (
        *(saved_interface, saved_metadata, saved_weights, lowered, delegation),
        *EXECUTED,
        core_ml,
    ),
    "litert": (delegation, portability, *EXECUTED),
    "onnx": EXECUTED,  # the CPU provider takes every operator, or refuses to open the file
}
"""Target -> its gates."""


def run_gates(build: Build) -> list[GateResult]:
    """Run all gates of a build's target; one that failed does not stop the others."""
    gates = list(GATES[build.target.name])
    if "route" not in build.program.entries:
        gates.remove(routing)
    reason, results = None, []
    try:
        assert build.measurement
    except UserError as error:
        reason = "the file cannot be opened"
        results.append(GateResult("opens", reason, "opens", False, str(error)))
    for gate in gates:
        if gate in EXECUTED and reason is not None:
            results.append(GateResult(gate.__name__, None, None, None, reason))
        else:
            results.append(gate(build))
    return results


def _metadata(name: str, build: Build, found: ModelInfo) -> GateResult:
    same = found == build.program.info
    why = "" if same else "the converter dropped or changed what was stored"
    return GateResult(name, "equal" if same else "differs", "equal", same, why)


def _disagreement(build: Build) -> str:
    """What the router did, if that explains a difference."""
    wrong = [row for row in build.rows if row.selected[0] != row.selected[1]]
    return f"another prompt was selected for {_crop(wrong[0])}" if wrong else ""


def _crop(row: Row) -> str:
    return f"{row.photo} with {row.degradation}"


def _db(row: Row) -> str:
    return f"dB, worst {_crop(row)}"
