"""From a recipe's name to a training run: images, bank, validation, trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cpl_edge.cli import write_json
from cpl_edge.data.patches import ImageBank, list_images, load_images
from cpl_edge.errors import UserError
from cpl_edge.machine import machine, versions
from cpl_edge.models.student import StudentConfig
from cpl_edge.models.zoo import STUDENTS
from cpl_edge.recipe import read_toml
from cpl_edge.train.loop import Trainer
from cpl_edge.train.recipe import TrainRecipe
from cpl_edge.train.validation import Validation


def train(
    recipe_name: str,
    data: Path | None,
    out: Path | None,
    max_minutes: float | None,
    threads: int,
    device: str,
    steps: int | None,
) -> dict[str, Any]:
    """Run or resume a training; the arguments are those of the verb.

    Returns:
        What a card needs: recipe, steps, seconds, images, machine, versions, finished or not.

    Raises:
        UserError: no data folder, an unknown recipe, or a device that is not there.
    """
    recipe = read_toml(recipe_name, TrainRecipe, "train")
    if steps is not None:
        recipe = recipe.model_copy(update={"steps": steps})
    if data is None:
        raise UserError(
            f"say with --data FOLDER where the images are: it must hold {', '.join(recipe.folders)}"
        )
    if device not in ("cpu", "cuda"):
        raise UserError(f"no device {device!r}: use --device cpu or --device cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device: use --device cpu")
    torch.set_num_threads(threads)
    files = list_images([data / folder for folder in recipe.folders])
    held_out = files[:: recipe.holdout]
    training = [path for path in files if path not in set(held_out)]
    if not training:
        raise UserError("no image is left to train on: raise 'holdout' or add images")
    images = load_images([*training, *held_out])
    kinds = STUDENTS.get(recipe.student, StudentConfig()).degradations
    bank = ImageBank(images[: len(training)], device)
    validation = Validation(images[len(training) :], kinds, device)
    folder = out or Path("runs") / Path(recipe_name).stem
    trainer = Trainer(recipe, bank, validation, folder)
    finished = trainer.run(max_minutes)
    result = {
        "recipe": recipe.model_dump(mode="json"),
        "finished": finished,
        "step": trainer.step,
        "steps": recipe.steps,
        "seconds": round(trainer.seconds, 1),
        "images": len(training),
        "folder": str(folder),
        "threads": threads,
        "device": device,
        "machine": machine(),
        "versions": versions(),
    }
    write_json(folder / "run.json", result)
    return result
