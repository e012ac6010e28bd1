"""Quantisation-aware training: a trained student learns to be rounded.

    L = clean * L1(q, y) + output * L1(q, f)

with q what the rounding student makes of a crop, f what the fp32 student does, y the clean crop.
Both get the same prompt weights from the same frozen router: routing runs in float on targets too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.losses.reconstruction import RECONSTRUCTION
from cpl_edge.models.student import PromptedBlock
from cpl_edge.models.zoo import load_shared, student_path
from cpl_edge.quantize.admissible import admissible
from cpl_edge.quantize.balance import balance
from cpl_edge.quantize.calibration import Calibration
from cpl_edge.quantize.checkpoint import Quantized, digest, save_quantized
from cpl_edge.quantize.folding import equalise
from cpl_edge.quantize.qat import RoundingStudent
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.recipe import kept_in_float, read_quantize_recipe
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.train.recipe import QatRecipe
from cpl_edge.train.task import Bank, Task, middle_of

_BATCHES = 4  # of a crop of each degradation, for one of the recipe: these crops are small
_DIVERGED = 2.0  # times the error of the fp32 student
_MOMENTUM = 0.95  # of the running mean that is held against it


class QatTask(Task):
    """A rounding student and the fp32 student that it was.

    Raises:
        UserError: no such student or quantisation recipe, or one without fixed 8-bit ranges; or a
            student that has parts for each degradation.
    """

    kind = "student"
    last = "student.tail"
    block = PromptedBlock
    compiled = ()
    network: RoundingStudent
    recipe: QatRecipe

    def __init__(self, recipe: QatRecipe) -> None:
        super().__init__(recipe)
        self.teacher = load_shared(recipe.student).requires_grad_(False)
        self.source = digest(student_path(recipe.student))
        self.how = read_quantize_recipe(recipe.quantize)
        if self.how.activations != "int8" or self.how.one_sided:
            raise UserError(
                f"'quantize' {recipe.quantize} cannot be trained: it must have activations = "
                '"int8" and not one_sided'
            )
        kept = kept_in_float(self.how, Simulation(self.teacher).sites)
        self.network = RoundingStudent(self.teacher, frozenset(kept), pace=recipe.range_pace)
        self.degradations = self.teacher.config.degradations
        self.calibration: dict[str, Any] = {}
        self.ratio: float | None = None  # running mean of: error / error of the fp32 student

    def start(self, bank: Bank) -> None:
        """Fold and calibrate, on degraded crops of the size that the router sees in training."""
        chosen, kinds = self.how.calibration, self.degradations
        generator = torch.Generator(bank.device).manual_seed(chosen.seed)
        stage = self.recipe.stages[0]
        side, count = stage.context or stage.crop, _BATCHES * len(kinds)
        crops: list[Tensor] = []
        clean: list[Tensor] = []
        names: list[str] = []
        for _ in range(chosen.crops):
            x_BCHW, y_BCHW, label_B = bank.degraded(kinds, count, side, generator)
            crops += torch.split(x_BCHW.cpu(), 1)
            clean += torch.split(y_BCHW.cpu(), 1)
            names += [kinds[label] for label in label_B.tolist()]
        calibration = Calibration(crops, clean, names, [], "training images")
        student = self.teacher
        if self.how.equalise:
            student = equalise(student, crops, self.how.equalise)
        if self.how.balance:
            student = balance(student, calibration)
        ranges = find_ranges(student, calibration, self.how.observer)
        self.network.set(student, admissible(student, ranges))
        self.calibration = calibration.to_card()

    def train(self, mode: bool = True) -> QatTask:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses of a batch; see :class:`Task`.

        Raises:
            CplEdgeError: rounding costs more and more instead of less.
        """
        x_middle, target = middle_of(x_BCHW, crop), middle_of(y_BCHW, crop)
        with torch.no_grad():
            w_BSN = self.teacher.forced(self.teacher.logits(x_BCHW), label_B)
            taught = self.teacher.restore(x_middle, w_BSN)
        restored = self.network.restore(x_middle, w_BSN)
        distance = RECONSTRUCTION[self.recipe.loss]
        clean, output = distance(restored, target), distance(restored, taught)
        self._check(float(clean.detach()) / max(float(distance(taught, target)), 1e-6))
        total = self.recipe.clean * clean + self.recipe.output * output
        return total, {"loss": clean, "output": output}

    def _check(self, ratio: float) -> None:
        before = ratio if self.ratio is None else self.ratio
        self.ratio = _MOMENTUM * before + (1 - _MOMENTUM) * ratio
        if self.ratio > _DIVERGED:
            raise CplEdgeError(
                f"quantisation-aware training diverges: the rounded student's error is "
                f"{self.ratio:.1f} times the fp32 student's; lower 'lr' or 'range_pace', "
                "or give the calibration more crops; the last checkpoint is kept"
            )

    def extra_state(self) -> dict[str, Any]:
        return {"ratio": self.ratio, "calibration": self.calibration}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.ratio, self.calibration = state["ratio"], state["calibration"]

    def save(self, network: nn.Module, path: Path) -> None:
        assert isinstance(network, RoundingStudent)
        quantized = Quantized(
            made="qat",
            source=self.source,
            recipe=self.how,
            ranges=network.ranges(),
            calibration=self.calibration,
        )
        save_quantized(network.student, quantized, path)
