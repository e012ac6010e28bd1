"""python -m cpl_edge.benchmark.training: how much faster a teacher trains here than elsewhere.

The plain loop is the paper's recipe as one would write it, and as its authors' code runs it; see
`cpl_edge.benchmark.plain_loop`.

Both train the same network on the same images, crops and batch, in one process on one machine, a
few steps of each in turn, so that a machine that slows down hurts both alike. The plain loop's
files are in the cache of the disk: what it loses to decoding is then processor time alone, and its
workers may decode ahead while the others train, which favours it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpl_edge.cli import Debug, Json, track, verb, write_json

if TYPE_CHECKING:
    import numpy as np
    import torch

    from cpl_edge.data.patches import ImageBank
    from cpl_edge.train.recipe import TeacherRecipe


def engine_steps(recipe: TeacherRecipe, bank: ImageBank, folder: Path) -> Generator[None]:
    """Our trainer with the same network; each ``next`` is one step."""
    from cpl_edge.train.loop import Trainer
    from cpl_edge.train.speed import set_precision
    from cpl_edge.train.teacher import TeacherTask

    trainer = Trainer(TeacherTask(recipe), bank, None, folder)
    while True:
        set_precision(recipe.precision, bank.device)
        trainer.train_step()
        yield


TURN = 5
"""Steps of one loop before the next has its turn."""


def seconds_a_step(
    loops: Mapping[str, Callable[[], object]], count: int, warm: int
) -> dict[str, float]:
    """Median time of a step of each loop, the GPU's work included, measured in turns.

    Args:
        loops: each takes one step.
        count: steps to measure of each.
        warm: steps before, which start workers, compile and choose algorithms.
    """
    import statistics

    import torch

    def timed(step: Callable[[], object]) -> float:
        started = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for step in loops.values():
        for _ in range(warm):
            step()
    seconds: dict[str, list[float]] = {label: [] for label in loops}
    turns = [
        label for start in range(0, count, TURN) for label in loops
        for _ in range(min(TURN, count - start))
    ]  # fmt: skip
    for label in track(turns, "steps in turns"):
        seconds[label].append(timed(loops[label]))
    return {label: statistics.median(times) for label, times in seconds.items()}


def measure(
    recipe: TeacherRecipe,
    images_HWC: Sequence[np.ndarray],
    device: torch.device,
    workers: int,
    count: int,
    warm: int,
) -> dict[str, Any]:
    """Images a second of the plain loop and of the engine.

    Args:
        recipe: of a teacher; its first stage is measured.
        images_HWC: clean uint8 RGB images, no side smaller than a crop.
        device: where to train.
        workers: of the plain loop; 0 decodes between the steps.
        count: steps to measure of each.
        warm: steps before them.

    Returns:
        ``images_per_second`` by loop, ``ratio`` (engine by plain), ``batching`` (engine with
        batched by sequential negatives) and ``degrading`` (share of a step).
    """
    import torch

    from cpl_edge.benchmark.plain_loop import PlainPairs, plain_steps, write_pairs
    from cpl_edge.data.patches import ImageBank

    stage = recipe.stages[0]
    bank = ImageBank(images_HWC, device)
    other = recipe.model_copy(update={"batched_negatives": not recipe.batched_negatives})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = PlainPairs(write_pairs(images_HWC, recipe.degradations, folder), stage.crop)
        loops = {
            "plain": plain_steps(recipe, pairs, workers, device),
            "engine": engine_steps(recipe, bank, folder / "run"),
            "engine, negatives the other way": engine_steps(other, bank, folder / "other"),
        }
        try:
            steps = {label: loop.__next__ for label, loop in loops.items()}
            seconds = seconds_a_step(steps, count, warm)
        finally:
            for loop in loops.values():
                loop.close()  # and with the plain one its workers
    generator = torch.Generator(device).manual_seed(0)

    def degrade() -> object:
        return bank.degraded(recipe.degradations, stage.batch, stage.crop, generator)

    plain, engine, otherwise = seconds.values()
    batching = otherwise / engine if recipe.batched_negatives else engine / otherwise
    return {
        "images_per_second": {k: round(stage.batch / s, 3) for k, s in seconds.items()},
        "ratio": round(plain / engine, 3),
        "batching": round(batching, 3),
        "degrading": round(seconds_a_step({"": degrade}, count, warm)[""] / engine, 3),
    }


@verb
def main(
    data: Annotated[Path, typer.Option(help="Folder that holds the recipe's image folders.")],
    recipe: Annotated[str, typer.Option(help="A teacher's recipe.")] = "cpl-tiny",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    crop: Annotated[int, typer.Option(help="Side of the crops in pixels.")] = 128,
    batch: Annotated[int, typer.Option(help="Crops a step.", min=1)] = 32,
    images: Annotated[int, typer.Option(help="How many images to use.", min=1)] = 40,
    workers: Annotated[int, typer.Option(help="Of the plain loop.", min=0)] = 8,
    threads: Annotated[int, typer.Option(help="CPU threads of training.", min=1)] = 1,
    steps: Annotated[int, typer.Option(help="Steps to measure of each loop.", min=1)] = 20,
    warm: Annotated[int, typer.Option(help="Steps before them.", min=0)] = 5,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Train a teacher in a plain loop and with the engine; print the ratio of their speeds."""
    from cpl_edge.errors import UserError, require

    require("torch", "train")
    import torch

    from cpl_edge.data.patches import list_images, load_images
    from cpl_edge.machine import machine, versions
    from cpl_edge.train.recipe import Stage, TeacherRecipe, read_recipe

    chosen = read_recipe(recipe)
    if not isinstance(chosen, TeacherRecipe):
        raise UserError(f"{recipe} trains a student: choose a teacher's recipe, such as cpl-tiny")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"there is no device {device!r}: use --device cpu")
    chosen = chosen.model_copy(update={"stages": [Stage(crop=crop, batch=batch)]})
    torch.set_num_threads(threads)
    files = list_images([data / folder for folder in chosen.folders])
    found = load_images(files[:: max(1, len(files) // images)][:images])
    result = measure(chosen, found, torch.device(device), workers, steps, warm)
    for label, rate in result["images_per_second"].items():
        print(f"{label:<34} {rate:9.2f} images/s")
    print(f"engine / plain                     {result['ratio']:9.2f}")
    print(f"batched / sequential negatives     {result['batching']:9.2f}")
    print(f"degradations, share of a step      {result['degrading']:9.1%}")
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    settings: dict[str, Any] = {
        "crop": crop,
        "batch": batch,
        "workers": workers,
        "threads": threads,
    }
    settings |= {"recipe": chosen.model_dump(mode="json"), "steps": steps, "device": gpu or device}
    write_json(json_path, result | settings | {"machine": machine(), "versions": versions()})


if __name__ == "__main__":
    main()
