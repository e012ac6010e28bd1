"""python -m cpl_edge.benchmark.training: how much faster a teacher trains here than elsewhere.

The plain loop is the paper's recipe as one would write it, and as its authors' code runs it:

- float32 as PyTorch sets it up (on a GPU convolutions may use TF32, products of matrices not);
- worker processes that decode files: the clean image and, but for noise, its degraded one, which
  lies on the disk as in the published datasets; then the same random crop and flip of both;
- four negatives, each a forward of its own through the whole network;
- AdamW, and the loss read after every step.

Both train the same network on the same images, crops and batch, one after the other, in one
process on one machine. The plain loop's files are in the cache of the disk: what it loses to
decoding is then processor time alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpl_edge.cli import Debug, Json, verb, write_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from cpl_edge.data.patches import ImageBank
    from cpl_edge.train.recipe import TeacherRecipe


def write_pairs(
    images_HWC: Sequence[np.ndarray], kinds: Sequence[str], folder: Path
) -> list[tuple[str, Path, Path]]:
    """Write the files that the plain loop decodes.

    Returns:
        Kind, clean file and degraded file of each pair; for noise, which is added while training,
        the clean file twice.
    """
    import numpy as np
    import torch
    from PIL import Image

    from cpl_edge.data.degradations import degrade

    pairs = []
    for number, image_HWC in enumerate(images_HWC):
        clean = folder / f"{number}.png"
        Image.fromarray(image_HWC).save(clean, compress_level=1)
        x_BCHW = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None] / 255
        for kind in kinds:
            if kind == "noise":
                pairs.append((kind, clean, clean))
                continue
            generator = torch.Generator().manual_seed(number)
            degraded_CHW = (degrade(x_BCHW, kind, generator)[0] * 255).round().byte()
            path = folder / f"{number}-{kind}.png"
            Image.fromarray(degraded_CHW.permute(1, 2, 0).numpy()).save(path, compress_level=1)
            pairs.append((kind, clean, path))
    return pairs


class PlainPairs:
    """A data set of pairs: decodes two files, crops, flips, adds noise of 15, 25 or 50.

    Args:
        pairs: from :func:`write_pairs`.
        crop: side in pixels.
    """

    def __init__(self, pairs: Sequence[tuple[str, Path, Path]], crop: int) -> None:
        self.pairs, self.crop = pairs, crop

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        import numpy as np
        import torch
        from PIL import Image

        kind, clean, degraded = self.pairs[index]
        y_HWC = np.asarray(Image.open(clean).convert("RGB"))
        x_HWC = y_HWC if kind == "noise" else np.asarray(Image.open(degraded).convert("RGB"))
        rng = np.random.default_rng()
        top, left = (int(rng.integers(side - self.crop + 1)) for side in y_HWC.shape[:2])
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        x_HWC, y_HWC = x_HWC[window], y_HWC[window]
        if rng.random() < 0.5:
            x_HWC, y_HWC = x_HWC[:, ::-1], y_HWC[:, ::-1]
        if kind == "noise":
            noisy = x_HWC + rng.standard_normal(x_HWC.shape) * rng.choice((15, 25, 50))
            x_HWC = noisy.clip(0, 255).astype(np.uint8)
        x_CHW, y_CHW = (
            torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1).float() / 255
            for image_HWC in (x_HWC, y_HWC)
        )
        return x_CHW, y_CHW


def plain_steps(
    recipe: TeacherRecipe, pairs: PlainPairs, workers: int, device: torch.device
) -> Generator[None]:
    """The plain loop; each ``next`` is one step."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    from cpl_edge.losses.contrastive import ContrastiveRegularisation
    from cpl_edge.losses.features import FilterBank
    from cpl_edge.models.promptir import create_promptir

    torch.set_float32_matmul_precision("highest")
    batch = recipe.stages[0].batch
    loader: Any = DataLoader(
        pairs,  # type: ignore[arg-type]
        batch,
        sampler=RandomSampler(pairs, replacement=True, num_samples=1_000_000 * batch),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    network = create_promptir(recipe.teacher, prompt=recipe.prompt).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, recipe.betas, weight_decay=0.0)
    generator = torch.Generator(device).manual_seed(0)
    weight = 0.001 / max(recipe.negatives, 1)
    cpr = ContrastiveRegularisation(FilterBank().to(device), 1, weight, batched=False)
    for x_BCHW, y_BCHW in loader:
        x_BCHW, y_BCHW = x_BCHW.to(device), y_BCHW.to(device)
        restored, routes = network(x_BCHW, None, True)
        loss = (restored - y_BCHW).abs().mean()
        wrong = []
        for _ in range(recipe.negatives):
            wrong += cpr.wrong_restorations(network, x_BCHW, None, routes, generator)
        loss = loss + cpr.term(restored, wrong)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        yield


def engine_steps(recipe: TeacherRecipe, bank: ImageBank, folder: Path) -> Generator[None]:
    """Our trainer with the same network; each ``next`` is one step."""
    from cpl_edge.train.loop import Trainer
    from cpl_edge.train.teacher import TeacherTask

    trainer = Trainer(TeacherTask(recipe), bank, None, folder)
    while True:
        trainer.train_step()
        yield


def seconds_a_step(step: Callable[[], object], count: int, warm: int) -> float:
    """Median time of a step, the GPU's work included.

    Args:
        step: takes one step.
        count: steps to measure.
        warm: steps before, which start workers, compile and choose algorithms.
    """
    import statistics

    import torch

    seconds = []
    for number in range(warm + count):
        started = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if number >= warm:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


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

    from cpl_edge.data.patches import ImageBank

    stage = recipe.stages[0]
    bank = ImageBank(images_HWC, device)
    other = recipe.model_copy(update={"batched_negatives": not recipe.batched_negatives})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = PlainPairs(write_pairs(images_HWC, recipe.degradations, folder), stage.crop)
        loops: dict[str, Callable[[], Generator[None]]] = {
            "plain": lambda: plain_steps(recipe, pairs, workers, device),
            "engine": lambda: engine_steps(recipe, bank, folder / "run"),
            "engine, negatives the other way": lambda: engine_steps(other, bank, folder / "run"),
        }
        seconds = {}
        for label, start in loops.items():
            steps = start()
            seconds[label] = seconds_a_step(steps.__next__, count, warm)
            steps.close()  # and with it the workers, before the next loop runs
    generator = torch.Generator(device).manual_seed(0)

    def degrade() -> object:
        return bank.degraded(recipe.degradations, stage.batch, stage.crop, generator)

    plain, engine, otherwise = seconds.values()
    batching = otherwise / engine if recipe.batched_negatives else engine / otherwise
    return {
        "images_per_second": {k: round(stage.batch / s, 3) for k, s in seconds.items()},
        "ratio": round(plain / engine, 3),
        "batching": round(batching, 3),
        "degrading": round(seconds_a_step(degrade, count, warm) / engine, 3),
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
