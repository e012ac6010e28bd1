"""Training of teachers: reconstruction, and CPL's contrastive prompt regularisation (CPR).

The teacher's routers choose by themselves; the label of a crop's degradation is not used.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from cpl_edge.data.layouts import find_layout
from cpl_edge.losses.contrastive import ContrastiveRegularisation
from cpl_edge.losses.features import FilterBank, Vgg16Features
from cpl_edge.losses.reconstruction import RECONSTRUCTION
from cpl_edge.models.blocks import TransformerBlock
from cpl_edge.models.promptir import PromptIR, create_promptir
from cpl_edge.models.teachers import save_teacher
from cpl_edge.train.recipe import TeacherRecipe
from cpl_edge.train.task import Task, middle_of


class TeacherTask(Task):
    """A teacher, e.g. L1 - weight * CPR (method, section 3).

    Raises:
        UserError: the recipe's VGG file cannot be used.
    """

    kind = "teacher"
    last = "head"
    block = TransformerBlock
    compiled = ("encode", "decode")
    network: PromptIR

    def __init__(self, recipe: TeacherRecipe) -> None:
        super().__init__(recipe)
        self.parallel = recipe.parallel
        layout = recipe.layout and find_layout(recipe.layout)
        self.degradations = layout.tasks if layout else recipe.degradations
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = create_promptir(
                recipe.teacher,
                prompt=recipe.prompt,
                prompts=recipe.prompts,
                top_k=recipe.top_k,
                dpa=recipe.dpa,
                pdl=recipe.pdl,
            )
        self.contrast: ContrastiveRegularisation | None = None
        if recipe.negatives:
            # A module of its own: frozen, but moved to the device with the rest.
            self.features = Vgg16Features(Path(recipe.vgg)) if recipe.vgg else FilterBank()
            # Its weight is applied below, so that the log shows the distance itself.
            self.contrast = ContrastiveRegularisation(
                self.features,
                recipe.negatives,
                1.0,
                recipe.negative_weight,
                recipe.batched_negatives,
            )
            published = 0.001 / recipe.negatives
            self.cpr_weight = published if recipe.cpr_weight is None else recipe.cpr_weight

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x_BCHW, y_BCHW = middle_of(x_BCHW, crop), middle_of(y_BCHW, crop)
        with self.autocast(x_BCHW.device):
            encoded = self.network.encode(x_BCHW)
            restored, routes = self.network.decode(x_BCHW, encoded)
        total = pixel = RECONSTRUCTION[self.recipe.loss](restored, y_BCHW)
        parts = {"loss": pixel}
        if self.contrast:
            with self.autocast(x_BCHW.device):
                wrong = self.contrast.wrong_restorations(
                    self.network, x_BCHW, encoded, routes, generator
                )
            parts["cpr"] = self.contrast.term(restored.float(), [y_j.float() for y_j in wrong])
            total = total + self.cpr_weight * parts["cpr"]
        return total, parts

    def save(self, network: nn.Module, path: Path) -> None:
        assert isinstance(network, PromptIR)
        save_teacher(network.config, network.state_dict(), path)
