"""From a recipe's name to a training run: images, bank, validation, trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cpl_edge.cli import write_json
from cpl_edge.data.pairs import PairBank
from cpl_edge.data.patches import ImageBank, list_images, load_images
from cpl_edge.errors import UserError, require
from cpl_edge.machine import machine, versions
from cpl_edge.train.board import writing
from cpl_edge.train.distil import DistilTask
from cpl_edge.train.lessons import keep_lessons
from cpl_edge.train.loop import Trainer
from cpl_edge.train.pairs import open_pairs
from cpl_edge.train.processes import join_processes
from cpl_edge.train.qat import QatTask
from cpl_edge.train.recipe import QatRecipe, Recipe, StudentRecipe, TeacherRecipe, read_recipe
from cpl_edge.train.task import Bank, StudentTask, Task
from cpl_edge.train.teacher import TeacherTask
from cpl_edge.train.validation import StudentValidation, TeacherValidation, Validation

VALIDATIONS: dict[str, type[Validation]] = {
    "student": StudentValidation,
    "teacher": TeacherValidation,
}


def train(
    recipe_name: str,
    data: Path | None,
    out: Path | None,
    max_minutes: float | None,
    threads: int,
    device: str,
    steps: int | None,
    tensorboard: bool = False,
    images_every: int | None = None,
) -> dict[str, Any]:
    """Run or resume a training; the arguments are those of the verb.

    Returns:
        What a card needs: recipe, steps, seconds, images, machine, versions, finished or not.

    Raises:
        UserError: no data folder, an unknown recipe, or a device that is not there.
        MissingExtra: TensorBoard is asked for and not installed.
    """
    recipe = read_recipe(recipe_name)
    if steps is not None:
        recipe = recipe.model_copy(update={"steps": steps})
    if data is None:
        holds = f"layout {recipe.layout}" if recipe.layout else ", ".join(recipe.folders)
        raise UserError(f"say with --data FOLDER where the images are: it must hold {holds}")
    if device not in ("cpu", "cuda"):
        raise UserError(f"no device {device!r}: use --device cpu or --device cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device: use --device cpu")
    if tensorboard:
        require("tensorboard", "board")
    torch.set_num_threads(threads)
    folder = out or Path("runs") / Path(recipe_name).stem
    # What is wrong with photos is told before a network is made or a process waits.
    photos = None if recipe.layout else read_photos(recipe, data)
    task = create_task(recipe)
    curve = VALIDATIONS[task.kind]
    bank: ImageBank | PairBank
    with join_processes(device) as (processes, place):
        if photos is None:
            bank, validation = open_pairs(
                recipe, data, folder.parent, task.degradations, curve, place, processes
            )
        else:
            bank = ImageBank(photos[0], place, task.mix, recipe.variation)
            validation = curve(photos[1], task.degradations, place)
        task.start(bank)
        source: Bank = bank
        if isinstance(task, DistilTask) and task.distil.cache:
            source = keep_lessons(task, bank, folder, processes)
        trainer = Trainer(task, source, validation, folder, processes, tensorboard, images_every)
        finished = trainer.run(max_minutes)
    result = {
        "recipe": recipe.model_dump(mode="json"),
        "finished": finished,
        "step": trainer.step,
        "steps": recipe.steps,
        "seconds": round(trainer.seconds, 1),
        "images": len(bank),
        "folder": str(folder),
        "threads": threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processes": processes.count,
        "machine": machine(),
        "versions": versions(),
    }
    if processes.rank == 0:
        with writing(folder / "run.json"):
            write_json(folder / "run.json", result)
    return result


def read_photos(recipe: Recipe, data: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Clean photos to train on, and held-out ones."""
    files = list_images([data / folder for folder in recipe.folders])
    held_out = files[:: recipe.holdout]
    training = [path for path in files if path not in set(held_out)]
    if not training:
        raise UserError("no image is left to train on: raise 'holdout' or add images")
    images = load_images([*training, *held_out])
    return images[: len(training)], images[len(training) :]


def create_task(recipe: StudentRecipe | TeacherRecipe | QatRecipe) -> Task:
    """The network of a recipe as it is before the first step, and its losses.

    Raises:
        UserError: an unknown preset, or a file of the recipe that cannot be used.
    """
    if isinstance(recipe, QatRecipe):
        return QatTask(recipe)
    if isinstance(recipe, TeacherRecipe):
        return TeacherTask(recipe)
    return DistilTask(recipe, recipe.distil) if recipe.distil else StudentTask(recipe)
