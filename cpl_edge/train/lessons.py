"""From a recipe to its lessons: which batches are fixed, and the teacher's answers to them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Generator

from cpl_edge.models.zoo import student_path
from cpl_edge.train.cache import Fields, LessonBank, LessonFile
from cpl_edge.train.distil import DistilTask
from cpl_edge.train.processes import Processes
from cpl_edge.train.speed import set_precision
from cpl_edge.train.task import Bank, middle_of

_DECISIVE = ("seed", "folders", "layout", "holdout", "mix", "variation", "precision")


def keep_lessons(task: DistilTask, bank: Bank, folder: Path, processes: Processes) -> LessonBank:
    """Let the teacher answer a recipe's fixed batches, or go on with that, or find it done.

    Args:
        task: with ``cache`` batches; it takes the answers from now on instead of asking.
        bank: of the training, on its device.
        folder: of the run.
        processes: each of which keeps its share of every batch in a file of its own.

    Returns:
        The bank to train with instead.

    Raises:
        UserError, CplEdgeError: see :class:`~cpl_edge.train.cache.LessonFile`.
    """
    recipe, stage, device = task.recipe, task.recipe.stages[0], bank.device
    rank, count, share = processes.rank, processes.count, processes.share(stage.batch)
    batches, side = task.distil.cache, stage.context or stage.crop
    # As in training, so that the answers are those that the teacher would give there.
    set_precision(recipe.precision, device)
    task.to(device)
    if recipe.channels_last:
        task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def make(number: int) -> Fields:
        seed = (recipe.seed * batches + number) * count + rank
        generator = Generator(device).manual_seed(seed)
        x_BCHW, y_BCHW, label_B = bank.degraded(task.degradations, share, side, generator)
        x_BCHW = x_BCHW.half()  # what the student will see is what the teacher answers to
        answers = task.ask(x_BCHW.float(), stage.crop, label_B)
        kept = {name: v if name == "p_SBN" else v.half() for name, v in answers.items()}
        y_BCHW = middle_of(y_BCHW, stage.crop).half()
        return {"x": x_BCHW, "y": y_BCHW, "label": label_B, **kept}

    plain = recipe.model_dump(mode="json")
    facts = {name: plain[name] for name in _DECISIVE}
    with student_path(task.distil.teacher).open("rb") as weights:
        facts["teacher"] = hashlib.file_digest(weights, "sha256").hexdigest()
    facts["stage"] = stage.model_dump()
    facts["degradations"] = task.degradations
    facts["terms"] = [term for term in ("feature", "routing") if plain["distil"][term]]
    facts["process"] = [rank, count]
    path = folder / f"lessons-{rank}.bin"
    task.lessons = LessonBank(LessonFile(path, batches, facts, make), device, recipe.seed)
    return task.lessons
