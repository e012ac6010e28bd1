"""Train and measure the candidates of a list, one after the other; what is done is not redone.

1. Read the images, hold some out, degrade the crops of the latter.
2. For each run of the plan: train it with the one trainer, which resumes a run that was stopped.
3. Measure it, and write ``result.json`` beside its weights.
4. Write what is known so far: JSON, tables and plots, so that a stopped search is of use.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cpl_edge.cli import write_json
from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.machine import machine, versions
from cpl_edge.models.promptir import PromptIR
from cpl_edge.models.student import Student
from cpl_edge.models.teachers import load_teacher
from cpl_edge.models.zoo import load_student
from cpl_edge.search.candidates import CandidateList, Planned
from cpl_edge.search.latency import RULE, measure_latency, with_latency
from cpl_edge.search.measure import Crops, make_crops, measure
from cpl_edge.search.measure_teacher import measure_teacher
from cpl_edge.search.report import write_report
from cpl_edge.search.results import CurvePoint, Figures, Run, SearchResult, agreements
from cpl_edge.train.loop import Trainer
from cpl_edge.train.recipe import StudentRecipe, TeacherRecipe
from cpl_edge.train.start import VALIDATIONS, create_task, read_photos
from cpl_edge.train.validation import Validation

_RESULT = "result.json"


def search(
    candidates: CandidateList,
    data: Path | None,
    out: Path,
    results: Path,
    max_minutes: float | None = None,
    threads: int = 1,
) -> SearchResult:
    """Run a list, or go on with it.

    Args:
        candidates: the list.
        data: folder that holds the recipe's image folders.
        out: where the runs go.
        results: where the JSON, the tables and the plots go.
        max_minutes: stop with a checkpoint after so long.
        threads: CPU threads.

    Returns:
        What is known; its ``runs`` are fewer than ``planned`` where it was stopped.

    Raises:
        UserError: no data folder, images that do not do, or a run folder of another recipe.
        CplEdgeError: a training failed; see :meth:`cpl_edge.train.loop.Trainer.train_step`.
    """
    if data is None:
        folders = ", ".join(candidates.shared.folders)
        raise UserError(f"say with --data FOLDER where the images are: it must hold {folders}")
    torch.set_num_threads(threads)
    started = time.monotonic()
    plan = candidates.plan()
    for planned in plan:  # what cannot be made is told before the first is trained
        create_task(planned.recipe)
    training, held_out = read_photos(candidates.shared, data)
    held_out = held_out[: candidates.images or None]
    crops = make_crops(candidates.conditions, held_out, candidates.side, data)
    bank = ImageBank(training)
    count = len(training)
    del training  # the bank has its own copy
    task = create_task(candidates.shared)
    validation = VALIDATIONS[task.kind](held_out, task.degradations, side=candidates.side)
    images = (count, len(held_out))
    write_json(out / "images.json", {"trained": count, "held_out": len(held_out)})
    for number, planned in enumerate(plan, start=1):
        if read_run(out, planned) is not None:
            continue
        left = None if max_minutes is None else max_minutes - (time.monotonic() - started) / 60
        print(f"{number}/{len(plan)} {planned.name}", file=sys.stderr, flush=True)
        if not _train(planned, bank, validation, crops, out, left):
            break
        collect(candidates, out, results, images)
    return collect(candidates, out, results, images)


def _train(
    planned: Planned,
    bank: ImageBank,
    validation: Validation,
    crops: list[Crops],
    out: Path,
    max_minutes: float | None,
) -> bool:
    """Train one run to its end and measure it; False if it was stopped."""
    task = create_task(planned.recipe)
    own = copy.copy(bank)  # shares the pixels
    own.mix, own.variation = task.mix, planned.recipe.variation
    folder = out / planned.name
    trainer = Trainer(task, own, validation, folder)
    if not trainer.run(max_minutes):
        return False
    network, choices, sites, figures = _measured(planned, folder, crops)
    run = Run(
        candidate=planned.candidate,
        seed=planned.recipe.seed,
        recipe=planned.recipe.model_dump(mode="json"),
        config=json.loads(json.dumps(asdict(network.config))),
        steps=trainer.step,
        seconds=round(trainer.seconds, 1),
        parameters=sum(p.numel() for p in network.parameters()),
        macs=count_macs(network),
        choices=choices,
        sites=sites,
        curve=_curve(folder / "log.jsonl"),
        figures=figures,
    )
    write_json(folder / _RESULT, run.model_dump(mode="json"))
    return True


def _measured(
    planned: Planned, folder: Path, crops: list[Crops]
) -> tuple[Student | PromptIR, int, int, tuple[Figures, ...]]:
    """The trained network, and ``choices``, ``sites`` and ``figures`` of its :class:`Run`."""
    recipe = planned.recipe
    if isinstance(recipe, TeacherRecipe):
        teacher = load_teacher(folder / "teacher.safetensors")
        sites = len(teacher.sites)
        return teacher, 1, sites, tuple(measure_teacher(teacher, crop) for crop in crops)
    student = load_student(folder / "student.safetensors")
    named = recipe.routing_weight > 0
    routes = named or recipe.selection == "router" or not student.config.prompts
    choices = student.config.levels if student.config.prompt == "levels" else 1
    return student, choices, 1, tuple(measure(student, crop, named, routes) for crop in crops)


def _curve(log: Path) -> tuple[CurvePoint, ...]:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return tuple(
        CurvePoint(
            step=row["step"],
            psnr=round(float(np.mean([v["after"] for v in row["validation"].values()])), 3),
        )
        for row in rows
    )


def count_macs(network: Student | PromptIR) -> int:
    """Multiply-accumulates of routing and restoring one image of 256x256 pixels."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, 256, 256))
    return int(counter.get_total_flops() // 2)


def read_run(out: Path, planned: Planned) -> Run | None:
    """What became of a run; None if it is not finished.

    Raises:
        UserError: the folder holds a run of another recipe, or a damaged result.
    """
    path = out / planned.name / _RESULT
    if not path.is_file():
        return None
    try:
        run = Run.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no result of a search: remove it") from error
    if not _is_recipe(run.recipe, planned.recipe):
        raise UserError(
            f"{path.parent} holds a run of another recipe: choose another --out or remove it"
        )
    return run


def _is_recipe(saved: dict[str, Any], recipe: StudentRecipe | TeacherRecipe) -> bool:
    """Whether a saved recipe is this one; words that it does not have yet are defaults."""
    try:
        return type(recipe).model_validate_json(json.dumps(saved)) == recipe
    except ValueError:
        return False


def collect(
    candidates: CandidateList, out: Path, results: Path, images: tuple[int, int]
) -> SearchResult:
    """Write and return all that is known: finished runs, tables and plots.

    Args:
        candidates: the list.
        out: where the runs are.
        results: where the JSON, the tables and the plots go.
        images: how many were trained on, and how many held out.

    Raises:
        UserError: see :func:`read_run`.
    """
    runs = tuple(run for planned in candidates.plan() if (run := read_run(out, planned)))
    result = SearchResult(
        name=candidates.name,
        about=candidates.about,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(),
        images=images[0],
        crops=images[1],
        side=candidates.side,
        conditions=tuple(condition.model_dump(mode="json") for condition in candidates.conditions),
        about_candidates={c.name: c.about for c in candidates.candidates},
        planned=len(candidates.plan()),
        runs=with_latency(runs, out),
        agreement=agreements(runs),
    )
    if runs:
        write_report(result, results)
    return result


def time_finished(
    candidates: CandidateList, data: Path | None, out: Path, results: Path
) -> SearchResult:
    """Build and time what is finished, then :func:`collect_finished`.

    Nothing else should run on the machine meanwhile.

    Raises:
        UserError: nothing is finished, or teachers were searched, of which no model files are
            made; else see :func:`collect_finished`.
        MissingExtra: a target's packages are not installed.
        CplEdgeError: a converter failed.
    """
    if candidates.shared.network == "teacher":
        raise UserError(f"{candidates.name} trains teachers, which are not exported: no --latency")
    runs = [run for planned in candidates.plan() if (run := read_run(out, planned))]
    if not runs:
        raise UserError(f"{out} holds no finished run: run the same command without --latency")
    measure_latency(runs, out, data, RULE)
    return collect_finished(candidates, out, results)


def collect_finished(candidates: CandidateList, out: Path, results: Path) -> SearchResult:
    """:func:`collect` without reading any image, also beside a search that is running.

    Raises:
        UserError: nothing has been searched there; else see :func:`read_run`.
    """
    path = out / "images.json"
    if not path.is_file():
        raise UserError(f"{out} holds no search: run the same command without --report first")
    counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return collect(candidates, out, results, (counts["trained"], counts["held_out"]))
