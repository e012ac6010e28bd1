"""Train a student or a teacher: one loop that stops and resumes without changing the curve.

1. Read the images into a bank on the device; hold some out for the validation curve.
2. Per step: crops, degradations, the task's losses (:mod:`task`, :mod:`teacher`, :mod:`distil`),
   Muon and AdamW.
3. Every so often a checkpoint (atomic), and a validation and a picture (:mod:`board`).
4. At the end the weights and what happened, for the card.

All randomness comes from one generator whose state is in the checkpoint, so a run that was killed
and resumed takes exactly the steps of one that was not.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.train.board import Board
from cpl_edge.train.checkpoint import load_checkpoint, save_checkpoint
from cpl_edge.train.grid import draw_grid
from cpl_edge.train.optimisers import build_optimisers, learning_rate
from cpl_edge.train.processes import Processes
from cpl_edge.train.recipe import Recipe
from cpl_edge.train.speed import compile_network, running_mean, set_precision, uncompiled
from cpl_edge.train.task import Bank, Task
from cpl_edge.train.validation import Validation


class Trainer:
    """The state of one training run in one folder.

    Args:
        task: the network to train and its losses.
        bank: training images on the device to train on.
        validation: held-out images, or None.
        folder: where checkpoint, log and weights go; an unfinished run there is resumed.
        processes: that train together; only the first writes.
        tensorboard: whether to write event files beside the log.
        images_every: steps between pictures of held-out images, 0 for none; None for one with
            each validation.
    """

    def __init__(
        self,
        task: Task,
        bank: Bank,
        validation: Validation | None,
        folder: Path,
        processes: Processes | None = None,
        tensorboard: bool = False,
        images_every: int | None = 0,
    ) -> None:
        self.task, self.recipe, self.bank = task, task.recipe, bank
        self.validation, self.folder = validation, folder
        self.board, self.images_every = Board(folder, tensorboard), images_every
        self.processes = processes = processes or Processes()
        recipe, self.device = task.recipe, bank.device
        set_precision(recipe.precision, self.device)
        task.to(self.device)
        if recipe.channels_last:
            # Not in torch's type stubs without a device.
            task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = running_mean(task.network, recipe.ema) if recipe.ema else None
        self.shards = processes.shard(task, self.average)
        self.optimisers = build_optimisers(task.network, recipe, task.last)
        # The first process takes the recipe's own seed, and so the steps of a single one.
        seed = recipe.seed + 1_000_003 * processes.rank
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.step = 0
        self.seconds = 0.0
        self.mean: dict[str, float] = {}  # running means of the losses
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self._resume()
        compile_network(task, recipe.compile)
        self.module = task if self.shards else processes.wrap(task, self.device, uneven=task.uneven)

    @property
    def network(self) -> nn.Module:
        """What is validated and saved: the trained network, or its running mean.

        Where they are sharded, all processes must ask for it.
        """
        if self.shards:
            return self.shards.whole_network()
        if self.average is None:
            return self.task.network
        network: nn.Module = self.average.module
        return network

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint)
        if not _is_recipe(state.get("recipe"), self.recipe):
            raise UserError(
                f"{self.folder} holds a run of another recipe: choose another --out or remove it"
            )
        generators = state["generator"].reshape(-1, len(self.generator.get_state()))
        if len(generators) != self.processes.count:
            raise UserError(
                f"{self.folder} was trained by {len(generators)} processes: go on with as many"
            )
        if self.shards:
            state = self.shards.share_state(state, self.task.kind, self.optimisers)
        # Cloned: set_state crashes on a view into the middle of a tensor.
        self.generator.set_state(generators[self.processes.rank].clone())
        self.task.network.load_state_dict(state[self.task.kind])
        self.task.load_extra_state(state.get("task", {}))
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        if self.average:
            self.average.load_state_dict(state["average"])
        self.step, self.seconds, self.mean = state["step"], state["seconds"], state["mean"]

    def save(self) -> None:
        """Write the checkpoint; all processes must call it."""
        generators = self.processes.stack(self.generator.get_state())
        state = {
            "recipe": self.recipe.model_dump(mode="json"),
            self.task.kind: self.task.network.state_dict(),
            "task": self.task.extra_state(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "generator": generators,
            "step": self.step,
            "seconds": self.seconds,
            "mean": self.mean,
        }
        if self.average:
            state["average"] = self.average.state_dict()
        if self.shards:
            state = self.shards.whole_state(state)
        if self.processes.rank == 0:
            save_checkpoint(self.checkpoint, state)
        self.processes.wait()

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the losses.

        Raises:
            CplEdgeError: the loss or its gradient is not finite; the last checkpoint is kept.
        """
        stage = self.recipe.stage(self.step)
        kinds, turn = self.task.degradations, self.task.turn(self.step)
        x_BCHW, y_BCHW, label_B = self.bank.degraded(
            kinds if turn is None else kinds[turn : turn + 1],
            self.processes.share(stage.batch),
            stage.context or stage.crop,
            self.generator,
        )
        label_B = label_B + (turn or 0)
        # For what draws from torch's global generator (DPPD): no state of it is to be kept.
        rank, count = self.processes.rank, self.processes.count
        torch.manual_seed((self.recipe.seed * self.recipe.steps + self.step) * count + rank)
        total, parts = self.module(x_BCHW, y_BCHW, label_B, stage.crop, self.generator)
        total.backward()
        norm = nn.utils.clip_grad_norm_(
            self.task.network.parameters(), self.recipe.clip, foreach=True
        )
        if self.shards:
            norm = self.shards.whole(norm)
        # All figures at once: each transfer from a GPU waits for it.
        figures = torch.stack([total.detach(), norm, *(part.detach() for part in parts.values())])
        loss, gradient, *values = self.processes.mean(figures).tolist()
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            raise CplEdgeError(
                f"the loss is {loss} and its gradient {gradient} at step {self.step}: "
                f"lower the learning rate; the last checkpoint in {self.folder} is kept"
            )
        lr = learning_rate(self.recipe, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.task.network)
        self.step += 1
        return dict(zip(parts, values, strict=True))

    def run(self, max_minutes: float | None = None) -> bool:
        """Train until the recipe's last step, a signal, or the time limit.

        Args:
            max_minutes: stop cleanly with a checkpoint after so long.

        Returns:
            True when the recipe is finished; the weights, named after the kind of network, are
            then written.

        Raises:
            UserError: the run folder cannot be made.
            CplEdgeError: see :meth:`train_step` and :meth:`save`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be a run folder ({error.strerror}): choose another --out"
            ) from error
        started, before = time.monotonic(), self.seconds
        mean, first = self.mean, self.processes.rank == 0
        if first and self.step < self.recipe.steps:
            self.board.start(self.step)
        with _stop_signals() as stop, _progress(self.recipe.steps, self.step, first) as advance:
            while self.step < self.recipe.steps:
                values = self.train_step()
                self.seconds = before + time.monotonic() - started
                for key, value in values.items():
                    mean[key] = mean.get(key, value) * 0.99 + value * 0.01
                advance(self.step, mean["loss"])
                late = max_minutes is not None and time.monotonic() - started > max_minutes * 60
                ending = self.processes.any(late or bool(stop), self.device)
                last = self.step == self.recipe.steps
                if first or self.shards:
                    self._look(last)
                if self.step % self.recipe.checkpoint_every == 0 or last or ending:
                    self.save()
                if ending:
                    break
        if self.step < self.recipe.steps:
            return False
        network = self.network
        if first:
            self.task.save(network, self.folder / f"{self.task.kind}.safetensors")
        return True

    def _look(self, last: bool) -> None:
        """Validate and draw, where it is time to."""
        validating = last or self.step % self.recipe.validate_every == 0
        every = self.images_every
        drawing = validating if every is None else every and (last or self.step % every == 0)
        if not (validating or drawing):
            return
        network = self.network
        if self.processes.rank:  # was needed to put the network together
            return
        if validating:
            lr = learning_rate(self.recipe, self.step)
            row: dict[str, Any] = {
                "step": self.step, "seconds": round(self.seconds, 1), "lr": round(lr, 8),
                **{key: round(value, 5) for key, value in self.mean.items()},
            }  # fmt: skip
            if self.validation:
                with uncompiled(self.recipe.compile):
                    row["validation"] = self.validation.run(network)
            self.board.add_row(row)
        if self.validation and self.validation.pairs and drawing:
            with uncompiled(self.recipe.compile):
                samples = self.validation.samples(network)
            title = f"{self.folder.name}: step {self.step} of {self.recipe.steps}"
            self.board.add_picture(self.step, draw_grid(title, samples))


def _is_recipe(saved: Any, recipe: Recipe) -> bool:
    """Whether a checkpoint's recipe is this one; keys that it does not have yet are defaults."""
    try:
        return type(recipe).model_validate_json(json.dumps(saved)) == recipe
    except ValidationError:
        return False


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying in the middle of a step."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def _progress(total: int, start: int, shown: bool = True) -> Iterator[Any]:
    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.completed}/{task.total} loss {task.fields[loss]:.4f}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("", total=total, completed=start, loss=0.0)
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
