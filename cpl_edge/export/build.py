"""From a student and a recipe to a build, in numbered steps.

1. Check: what was asked for, and whether the packages are there, before any work.
2. Prepare: real crops, degraded in every way that the student knows; pin it if asked to.
3. Lower: rewrite it in operators that the target runs well.
4. Convert: write the model file, with its metadata, into a temporary folder.
5. Gates: hold the file against the student.
6. Keep: write the card and give the folder its name, or refuse the build.

The folder appears under its name only when it is complete, so a build that lies there has passed
its gates; a refused one is removed, or kept as ``<name>-refused`` if asked to.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cpl_edge.errors import CplEdgeError, UserError, require
from cpl_edge.export.card import make_card, write_card
from cpl_edge.export.crops import Crop, make_crops
from cpl_edge.export.gate import Build, GateResult
from cpl_edge.export.gates import run_gates
from cpl_edge.export.halo import smallest_halo
from cpl_edge.export.program import ENTRY_POINTS, Program, join_programs
from cpl_edge.export.recipe import ExportRecipe
from cpl_edge.export.silence import silence
from cpl_edge.export.targets import TARGETS, Target
from cpl_edge.machine import versions
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import load_student, student_path
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.checkpoint import read_quantized
from cpl_edge.quantize.preparation import Quantization, prepare
from cpl_edge.quantize.recipe import CalibrationSet, kept_in_float
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.recipe import nearest
from cpl_edge.runtimes.info import ModelInfo


@dataclass(frozen=True)
class Outcome:
    """What became of one recipe.

    Attributes:
        folder: the build, or None if it was refused and not kept.
        card: its card.
        results: of its gates.
        seconds: for everything.
    """

    folder: Path | None
    card: dict[str, Any]
    results: list[GateResult]
    seconds: float

    @property
    def refusals(self) -> list[GateResult]:
        """Gates that failed."""
        return [result for result in self.results if result.passed is False]


def export(
    recipes: Sequence[ExportRecipe],
    student_name: str,
    out: Path,
    data: Path | None = None,
    keep_refused: bool = False,
    verbose: bool = False,
    calibrate: Path | None = None,
) -> list[Outcome]:
    """Make builds of one student.

    Args:
        recipes: one for each build.
        student_name: a shipped student, or a ``.safetensors`` file.
        out: folder of the builds.
        data: photos for the gates, or None for those that come with scikit-image.
        keep_refused: keep builds that missed a gate, marked as refused.
        verbose: show what converters print.
        calibrate: photos that ranges and pinned prompts are fitted to, or None for those of the
            gates' folder that no gate looks at.

    Returns:
        An outcome for each recipe; look at its ``refusals``.

    Raises:
        UserError: something cannot be done as asked; nothing was written.
        MissingExtra: a target's packages are not installed.
        CplEdgeError: a converter failed.
    """
    weights, fitted = student_path(student_name), data if calibrate is None else calibrate
    student, stored = load_student(student_name), read_quantized(student_name)
    recipes = [routed(recipe, student) for recipe in recipes]
    targets = [check(recipe, student) for recipe in recipes]
    known = student.config.degradations
    with _steps(weights.stem)(1, "import the converters"), silence(not verbose):
        for target in targets:
            for module in target.modules:
                require(module, target.name)
    crops: dict[tuple[Any, ...], list[Crop]] = {}
    outcomes = []
    for recipe, target in zip(recipes, targets, strict=True):
        start = time.perf_counter()
        name = recipe.build_name(weights.stem)
        step = _steps(name)
        with step(2, "prepare the student and the crops of its gates"):
            how = recipe.quantization
            key = judged_on(recipe, student)
            if key not in crops:
                crops[key] = make_crops(key[0], recipe.size, data, held_out=key[2])
            asked, pinned_N = student, None
            if recipe.degradation is not None and recipe.routing == "told":
                asked = student.told(known.index(recipe.degradation))
            elif recipe.degradation is not None:
                pinned_N = pinned_weights(student, recipe.degradation, recipe.size, fitted)
            halo = smallest_halo(asked, crops[key], recipe.seam, pinned_N)
            info = replace(describe(recipe, target, student, weights), halo=halo.pixels)
            deployed = {}
            for degradation, plain in deployable(asked, recipe, pinned_N).items():
                deployed[degradation] = (
                    (plain, None)
                    if how is None
                    else prepare(
                        plain, how, recipe.size, fitted, degradation, stored, sent=info.own
                    )
                )
        with step(3, f"lower for {target.accelerator}"):
            program = lower(target, info, deployed)
        with _temporary_folder(out, name) as folder:
            with step(4, f"convert to {target.model}"), silence(not verbose):
                path = _convert(target, program, folder)
            with step(5, f"gates on {len(crops[key])} crops"), silence(not verbose):
                build = Build(recipe, target, asked, program, path, crops[key], pinned_N)
                results = run_gates(build)
                source = "photos of scikit-image" if data is None else data.resolve().name
                card = make_card(build, results, source, halo)
            refused = "refused" in card
            with step(6, "refuse" if refused else "keep"):
                kept = _keep(folder, out / name, card, keep_refused)
        outcomes.append(Outcome(kept, card, results, time.perf_counter() - start))
    return outcomes


def routed(recipe: ExportRecipe, student: Student) -> ExportRecipe:
    """The recipe with a routing that a file of this student can have.

    Where degradations have convolutions of their own, the ``forward`` of most formats cannot choose
    between them without computing all: such a file has ``route`` and ``restore`` alone.
    """
    target = TARGETS.get(recipe.target)
    chooses = target is not None and target.chooses
    if student.config.own and recipe.routing == "auto" and not chooses:
        return recipe.model_copy(update={"routing": "split"})
    return recipe


def deployable(
    student: Student, recipe: ExportRecipe, pinned_N: Tensor | None
) -> dict[str | None, Student]:
    """What becomes a file: students without parts of their own, by what they are calibrated on.

    One of ``None``, all degradations, or of the one that a build is for; of every degradation
    where each has its own convolutions.

    Args:
        student: that is asked for, told or not.
        recipe: of the build.
        pinned_N: prompt weights to fold in, if any.
    """
    if pinned_N is not None:
        return {recipe.degradation: student.pin(pinned_N)}
    if student.config.own:
        return {name: student.of(i) for i, name in enumerate(student.config.degradations)}
    return {recipe.degradation: student}


def lower(
    target: Target,
    info: ModelInfo,
    deployed: Mapping[str | None, tuple[Student, Quantization | None]],
) -> Program:
    """Step 3: one program of one student, or of those of all degradations."""
    programs = {
        name: replace(target.lower(student, info), quantization=quantization)
        for name, (student, quantization) in deployed.items()
    }
    if not info.own:
        (program,) = programs.values()
        return program
    return join_programs(info, {str(name): program for name, program in programs.items()})


def check(recipe: ExportRecipe, student: Student) -> Target:
    """Step 1: refuse what cannot work, and say what would.

    Raises:
        UserError: with the nearest thing that is possible.
    """
    target = TARGETS.get(recipe.target)
    if target is None:
        raise UserError(f"no target {recipe.target!r}: {nearest(recipe.target, TARGETS)}")
    if reason := target.supports(recipe.precision):
        raise UserError(f"{recipe.target} does not do {recipe.precision}: {reason}")
    if not student.config.exported:
        raise UserError(
            'model files are made of students with prompt = "levels", router = "moments" and '
            "rank = 0: this one is for comparison only"
        )
    assert recipe.gate_limits  # raises if there are none for this precision
    if (how := recipe.quantization) is not None:  # raises if there is no such recipe
        kept_in_float(how, Simulation(student.of(0)).sites)
    known = student.config.degradations
    for_one = recipe.routing in ("told", "pinned")
    if for_one and recipe.degradation is None:
        raise UserError(
            f"a {recipe.routing} build is for one degradation: add --degradation, one of "
            f"{', '.join(known)}"
        )
    if not for_one and recipe.degradation is not None:
        raise UserError(
            f"routing {recipe.routing} is for every degradation: leave --degradation out, "
            "or use --routing told, or pinned"
        )
    if recipe.degradation is not None and recipe.degradation not in known:
        raise UserError(
            f"the student has no degradation {recipe.degradation!r}: "
            f"{nearest(recipe.degradation, known)}"
        )
    for side in recipe.size:
        multiple, least = student.multiple, 2 * student.halo + student.multiple
        if side % multiple:
            near = max(least, round(side / multiple) * multiple)
            raise UserError(f"size {side} is no multiple of {multiple}: nearest is {near}")
        if side < least:
            raise UserError(
                f"size {side} leaves nothing between two halos of {student.halo} pixels: "
                f"give {least} or more"
            )
    return target


def describe(recipe: ExportRecipe, target: Target, student: Student, weights: Path) -> ModelInfo:
    """What the model file will say about itself."""
    height, width = recipe.size
    packages = ("cpl-edge", *target.packages)
    return ModelInfo(
        student=weights.stem,
        target=target.name,
        precision=recipe.precision,
        routing=recipe.routing,
        pinned=recipe.degradation,
        height=height,
        width=width,
        layout=target.layout,
        halo=student.halo,
        multiple=student.multiple,
        degradations=student.config.degradations,
        levels=student.config.levels,
        sites=1,
        entry_points=ENTRY_POINTS[recipe.routing],
        own=bool(student.config.own) and recipe.degradation is None,
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
        versions={name: v for name, v in versions().items() if name in packages},
    )


def judged_on(
    recipe: ExportRecipe, student: Student
) -> tuple[tuple[str, ...], tuple[int, int], bool]:
    """Degradations and size of the crops that judge a build, and whether they are held out.

    A told or pinned build serves one degradation and is judged on that one. What is fitted to
    photos, ranges of integers or the levels of a pinned prompt, is judged on others.
    """
    degradation = recipe.degradation
    shown = student.config.degradations if degradation is None else (degradation,)
    return shown, recipe.size, degradation is not None or recipe.quantization is not None


def pinned_weights(
    student: Student, degradation: str, size: tuple[int, int], data: Path | None = None
) -> Tensor:
    """Prompt weights ``w_N`` for one degradation.

    Its levels are mixed as the router mixes them on average over crops of that degradation, of
    photos that judge no build; all other prompts are zero.

    Args:
        student: in evaluation mode.
        degradation: one that it knows.
        size: of the crops, height and width in pixels.
        data: photos, or None for those that come with scikit-image.

    Raises:
        UserError: see :func:`cpl_edge.quantize.calibration.make_calibration`.
    """
    index = student.config.degradations.index(degradation)
    chosen = CalibrationSet(degradations=(degradation,))
    x_BCHW = torch.cat(make_calibration(chosen, student.config.degradations, size, data).crops)
    with torch.no_grad():
        label_B = torch.full((len(x_BCHW),), index)
        return student.forced(student.logits(x_BCHW), label_B)[:, 0].mean(0)


def _convert(target: Target, program: Program, folder: Path) -> Path:
    try:
        return target.convert(program, folder)
    except Exception as error:  # converters raise whatever their inner parts raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CplEdgeError(
            f"converting to {target.name} failed: {first} (--debug shows everything)"
        ) from error


def _keep(folder: Path, final: Path, card: dict[str, Any], keep_refused: bool) -> Path | None:
    """Step 6: give a finished folder its name; None if it was refused and goes."""
    if "refused" in card:
        if not keep_refused:
            return None
        final = final.with_name(f"{final.name}-refused")
    write_card(card, folder)
    replaced = folder.with_name(f"{folder.name}-replaced")
    if final.exists():
        final.rename(replaced)
    folder.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)
    return final


@contextmanager
def _temporary_folder(out: Path, name: str) -> Iterator[Path]:
    """A folder beside the later build, gone at the end unless it was renamed."""
    folder = out / f".{name}.unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{out} cannot hold builds ({error.strerror}): give another --out"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _steps(name: str) -> Callable[[int, str], AbstractContextManager[None]]:
    """Progress on stderr, a line for each step."""

    @contextmanager
    def step(number: int, text: str) -> Iterator[None]:
        start = time.perf_counter()
        print(f"{name}  {number}/6 {text}", end="", file=sys.stderr, flush=True)
        outcome = "failed"
        try:
            yield
            outcome = f"{time.perf_counter() - start:.1f} s"
        finally:
            print(f"  {outcome}", file=sys.stderr, flush=True)

    return step
