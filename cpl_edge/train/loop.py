"""Train a student: one readable loop that stops and resumes without changing the curve.

1. Read the images into a bank on the device; hold some out for the validation curve.
2. Per step: crops, degradations, forward with the known degradation's prompts, L1 to the clean
   crop plus cross-entropy of the router, Muon and AdamW.
3. Every so often a checkpoint (atomic) and a validation; both lines go to ``log.jsonl``.
4. At the end ``student.safetensors`` and what happened, for the card.

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
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import STUDENTS, create_student, save_student
from cpl_edge.train.checkpoint import load_checkpoint, save_checkpoint
from cpl_edge.train.muon import Muon
from cpl_edge.train.recipe import TrainRecipe
from cpl_edge.train.validation import Validation


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Linear warm-up, then cosine to 0 at the last step."""
    progress = step / recipe.steps
    rise = min(1.0, (step + 1) / max(1.0, recipe.warmup * recipe.steps))
    return recipe.lr * rise * 0.5 * (1 + math.cos(math.pi * progress))


def build_optimisers(student: Student, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for convolution weights but the last; AdamW for it, biases, prompts, linear layers."""
    convolutions = [
        module.weight
        for name, module in student.named_modules()
        if isinstance(module, nn.Conv2d) and name != "tail"
    ]
    chosen = {id(weight) for weight in convolutions}
    rest = [p for p in student.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, foreach=True)
    return [Muon(convolutions, lr=lr), adam]


class Trainer:
    """The state of one training run in one folder.

    Args:
        recipe: what to train and how.
        bank: training images on the device to train on.
        validation: held-out images, or None.
        folder: where checkpoint, log and weights go; an unfinished run there is resumed.
    """

    def __init__(
        self, recipe: TrainRecipe, bank: ImageBank, validation: Validation | None, folder: Path
    ) -> None:
        if recipe.student not in STUDENTS:
            raise UserError(f"no student {recipe.student!r}; there are {', '.join(STUDENTS)}")
        self.recipe, self.bank, self.validation, self.folder = recipe, bank, validation, folder
        self.device = bank.device
        student = create_student(recipe.student, recipe.seed)
        # One call for both is not in torch's type stubs.
        self.student = student.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kinds = student.config.degradations
        self.optimisers = build_optimisers(self.student, recipe.lr)
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        self.step = 0
        self.seconds = 0.0
        self.mean: dict[str, float] = {}  # running means of the losses
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self._resume()
        self._forget_later_rows()

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint)
        if state.get("recipe") != self.recipe.model_dump(mode="json"):
            raise UserError(
                f"{self.folder} holds a run of another recipe: choose another --out or remove it"
            )
        self.student.load_state_dict(state["student"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self.step, self.seconds, self.mean = state["step"], state["seconds"], state["mean"]

    def _forget_later_rows(self) -> None:
        """Drop the log's rows that a killed run wrote after its last checkpoint."""
        log = self.folder / "log.jsonl"
        if log.exists():
            rows = log.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [row for row in rows if row.endswith("\n")]
            kept = [row for row in whole if json.loads(row)["step"] <= self.step]
            log.write_text("".join(kept), encoding="utf-8")

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.checkpoint,
            {
                "recipe": self.recipe.model_dump(mode="json"),
                "student": self.student.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "generator": self.generator.get_state(),
                "step": self.step,
                "seconds": self.seconds,
                "mean": self.mean,
            },
        )

    def loss(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int
    ) -> tuple[Tensor, Tensor]:
        """Reconstruction loss with the true degradation's prompts, and the router's loss.

        Args:
            x_BCHW: degraded crops, which the router sees whole.
            y_BCHW: clean crops.
            label_B: index of the degradation.
            crop: side of their middle, which is restored.
        """
        margin = (x_BCHW.shape[-1] - crop) // 2
        middle = (..., slice(margin, margin + crop), slice(margin, margin + crop))
        bf16 = self.recipe.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits_BSL = self.student.logits(x_BCHW)
            w_BSN = self.student.forced(logits_BSL, label_B)
            restored = self.student.restore(x_BCHW[middle], w_BSN)
        difference = restored.float() - y_BCHW[middle]
        if self.recipe.loss == "l1":
            pixel = difference.abs().mean()
        else:
            pixel = (difference.square() + 1e-6).sqrt().mean()
        return pixel, F.cross_entropy(logits_BSL[:, 0, : len(self.kinds)].float(), label_B)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the losses.

        Raises:
            CplEdgeError: the loss or its gradient is not finite; the last checkpoint is kept.
        """
        stage = self.recipe.stage(self.step)
        side = stage.context or stage.crop
        batch = self.bank.degraded(self.kinds, stage.batch, side, self.generator)
        pixel, routing = self.loss(*batch, stage.crop)
        total = pixel + self.recipe.routing_weight * routing
        total.backward()  # type: ignore[no-untyped-call]
        values = {"loss": pixel.item(), "routing": routing.item()}
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.clip, foreach=True)
        if not (math.isfinite(total.item()) and math.isfinite(norm.item())):
            raise CplEdgeError(
                f"the loss is {total.item()} and its gradient {norm.item()} at step {self.step}: "
                f"lower the learning rate; the last checkpoint in {self.folder} is kept"
            )
        lr = learning_rate(self.recipe, self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return values

    def run(self, max_minutes: float | None = None) -> bool:
        """Train until the recipe's last step, a signal, or the time limit.

        Args:
            max_minutes: stop cleanly with a checkpoint after so long.

        Returns:
            True when the recipe is finished; ``student.safetensors`` is then written.

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
        mean = self.mean
        with _stop_signals() as stop, _progress(self.recipe.steps, self.step) as advance:
            while self.step < self.recipe.steps:
                values = self.train_step()
                self.seconds = before + time.monotonic() - started
                for key, value in values.items():
                    mean[key] = mean.get(key, value) * 0.99 + value * 0.01
                advance(self.step, mean["loss"])
                late = max_minutes is not None and time.monotonic() - started > max_minutes * 60
                last = self.step == self.recipe.steps
                if self.step % self.recipe.validate_every == 0 or last:
                    self._log()
                if self.step % self.recipe.checkpoint_every == 0 or last or late or stop:
                    self.save()
                if late or stop:
                    break
        if self.step < self.recipe.steps:
            return False
        save_student(self.student, self.folder / "student.safetensors")
        return True

    def _log(self) -> None:
        lr = learning_rate(self.recipe, self.step)
        row: dict[str, Any] = {
            "step": self.step, "seconds": round(self.seconds, 1), "lr": round(lr, 8),
            **{key: round(value, 5) for key, value in self.mean.items()},
        }  # fmt: skip
        if self.validation:
            row["validation"] = self.validation.run(self.student)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


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
def _progress(total: int, start: int) -> Iterator[Any]:
    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.completed}/{task.total} loss {task.fields[loss]:.4f}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=start, loss=0.0)
        yield lambda step, loss: bar.update(task, completed=step, loss=loss)
