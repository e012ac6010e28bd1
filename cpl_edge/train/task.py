"""What is trained: the one seam between the loop and its two kinds of network.

A task holds a network and turns a batch into losses. It is a module, so that several processes can
share its gradients; what is random in it comes from the generator that it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.losses.reconstruction import RECONSTRUCTION
from cpl_edge.models.student import PromptedBlock, Student
from cpl_edge.models.zoo import create_student, load_student, save_student
from cpl_edge.train.recipe import Recipe, StudentRecipe


class Task(nn.Module):
    """A network and the losses that train it.

    Attributes:
        kind: of network, which names its weights in the run folder and in checkpoints.
        last: name of the convolution that makes the image.
        block: what ``compile = "blocks"`` compiles.
        compiled: methods that ``compile = "network"`` compiles.
        degradations: what it is trained on.
    """

    kind: str
    last: str
    block: type[nn.Module]
    compiled: tuple[str, ...]
    degradations: tuple[str, ...]
    network: nn.Module

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe

    def autocast(self, device: torch.device) -> torch.autocast:
        """The precision that the networks run in; losses are always float32."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses of a batch.

        Args:
            x_BCHW: degraded crops; larger than ``crop`` where there is context for a router.
            y_BCHW: clean crops.
            label_B: index of the degradation.
            crop: side of their middle, which is restored.
            generator: source of all that is random, on the crops' device.

        Returns:
            What to minimise, and its parts by name; the first is ``loss``.
        """
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the network."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Read what :meth:`extra_state` gave."""

    def save(self, network: nn.Module, path: Path) -> None:
        """Write the weights of a network of this kind: the trained one, or its running mean."""
        raise NotImplementedError


def middle_of(x_BCHW: Tensor, crop: int) -> Tensor:
    """The middle of an image without its context."""
    margin = (x_BCHW.shape[-1] - crop) // 2
    return x_BCHW[..., margin : margin + crop, margin : margin + crop]


class StudentTask(Task):
    """A student: the true degradation selects the prompts, the router learns to name it."""

    kind = "student"
    last = "tail"
    block = PromptedBlock
    compiled = ("logits", "restore")
    network: Student

    def __init__(self, recipe: StudentRecipe) -> None:
        super().__init__(recipe)
        self.routing_weight = recipe.routing_weight
        self.network = create_student(recipe.student, recipe.seed)
        if recipe.weights:
            trained = load_student(recipe.weights)
            if trained.config != self.network.config:
                raise UserError(
                    f"'weights' {recipe.weights} is another kind of student than {recipe.student}"
                )
            self.network.load_state_dict(trained.state_dict())
        self.degradations = self.network.config.degradations

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        restored, logits_BSL = self.restore(x_BCHW, label_B, crop)
        return self.losses(restored, logits_BSL, middle_of(y_BCHW, crop), label_B)

    def restore(self, x_BCHW: Tensor, label_B: Tensor, crop: int) -> tuple[Tensor, Tensor]:
        """The middle's restoration with the true degradation's prompts, and the router's logits."""
        with self.autocast(x_BCHW.device):
            logits_BSL = self.network.logits(x_BCHW)
            w_BSN = self.network.forced(logits_BSL, label_B)
            restored = self.network.restore(middle_of(x_BCHW, crop), w_BSN)
        return restored, logits_BSL

    def losses(
        self, y_BCHW: Tensor, logits_BSL: Tensor, target_BCHW: Tensor, label_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and the router's cross-entropy; see :meth:`forward`."""
        pixel = RECONSTRUCTION[self.recipe.loss](y_BCHW, target_BCHW)
        names_BD = logits_BSL[:, 0, : len(self.degradations)].float()
        routing = F.cross_entropy(names_BD, label_B)
        total = pixel + self.routing_weight * routing
        return total, {"loss": pixel, "routing": routing}

    def save(self, network: nn.Module, path: Path) -> None:
        assert isinstance(network, Student)
        save_student(network, path)
