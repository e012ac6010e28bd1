"""What is trained: the one seam between the loop and its two kinds of network.

A task holds a network and turns a batch into losses. It is a module, so that several processes can
share its gradients; what is random in it comes from the generator that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.losses.reconstruction import RECONSTRUCTION
from cpl_edge.models.cut import cut
from cpl_edge.models.grow import grow, take_own
from cpl_edge.models.student import PromptedBlock, Student, StudentConfig
from cpl_edge.models.zoo import create_student, load_student, save_student
from cpl_edge.train.negatives import StudentContrast
from cpl_edge.train.recipe import Recipe, StudentRecipe


class Bank(Protocol):
    """Where batches come from: an ``ImageBank`` or a ``PairBank``."""

    @property
    def device(self) -> torch.device:
        """Where batches are made."""

    def degraded(
        self, kinds: Sequence[str], count: int, size: int, generator: Generator, /
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Degraded ``x_BCHW``, clean ``y_BCHW`` and the degradation's index ``label_B``."""


class Task(nn.Module):
    """A network and the losses that train it.

    Attributes:
        kind: of network, which names its weights in the run folder and in checkpoints.
        last: name of the convolution that makes the image.
        block: what ``compile = "blocks"`` compiles.
        compiled: methods that ``compile = "network"`` compiles.
        degradations: what it is trained on.
        parallel: how several processes share the network: ``ddp``, each has all of it, or
            ``fsdp``, each has a part.
    """

    kind: str
    last: str
    block: type[nn.Module]
    compiled: tuple[str, ...]
    degradations: tuple[str, ...]
    network: nn.Module
    parallel: str = "ddp"

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

    def start(self, bank: Bank) -> None:
        """See what the task will be trained on, before a run begins or goes on."""

    def turn(self, step: int) -> int | None:
        """Index of the one degradation that a step's crops have; None: all of them."""
        return None

    @property
    def mix(self) -> Mapping[str, int] | None:
        """Shares of the degradations in a batch; None: even ones, or turns of whole batches."""
        return self.recipe.mix if self.turn(0) is None else None

    @property
    def uneven(self) -> bool:
        """Whether a step may use a part only of what is trained."""
        return False

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
    """A student: the true degradation selects the prompts, the router learns to name it.

    Where the recipe lets the router select, it learns by what its selection restores. Three words
    of the recipe add to the loss: ``routing_weight``, ``balance_weight`` and ``negatives``.

    Raises:
        UserError: an unknown preset or shape, or weights or prompts that do not fit the recipe.
    """

    kind = "student"
    last = "tail"
    block = PromptedBlock
    compiled = ("logits", "restore")
    network: Student
    recipe: StudentRecipe

    def __init__(self, recipe: StudentRecipe) -> None:
        super().__init__(recipe)
        self.routing_weight = recipe.routing_weight
        shape = recipe.shape.model_dump(exclude_none=True) if recipe.shape else None
        self.network = create_student(recipe.student, recipe.seed, shape)
        prompt = self.network.config.prompt
        if prompt in ("sparse", "soft") and recipe.selection == "label":
            raise UserError(f'{prompt} prompts are chosen by the router: add selection = "router"')
        if recipe.weights:
            before, config = load_student(recipe.weights), self.network.config
            try:
                if recipe.cut:
                    before = cut(before, config.blocks, config.prompted, config.down)
                grow(before, self.network)
            except ValueError as error:
                hint = "" if recipe.cut else "; 'cut' leaves out what has no place"
                raise UserError(
                    f"{recipe.weights} does not fit this recipe: {error}{hint}"
                ) from error
        for degradation, path in (recipe.take or {}).items():
            try:
                take_own(load_student(path), self.network, degradation)
            except ValueError as error:
                raise UserError(f"cannot take {degradation} from {path}: {error}") from error
        if recipe.router:
            trained = load_student(recipe.router)
            if _router_shape(trained.config) != _router_shape(self.network.config):
                raise UserError(f"{recipe.router} has another shape of router than this recipe")
            self.network.router.load_state_dict(trained.router.state_dict())
        for name, parameter in self.network.named_parameters():
            parts = {"router"} if name.startswith("router.") else {"body"}
            if name.startswith("own."):
                parts.add("own")
            parameter.requires_grad_(recipe.trained in {"all", *parts})
        self.degradations = self.network.config.degradations
        idle = [name for name in recipe.mix or () if not self._owns(name)]
        if recipe.trained == "own" and idle:
            raise UserError(f"'mix' trains {idle[0]}, which owns nothing that could learn")
        self.contrast: StudentContrast | None = None
        if recipe.negatives:
            self.contrast = StudentContrast(recipe, self.network.config)
            published = 0.001 / recipe.negatives
            self.cpr_weight = published if recipe.cpr_weight is None else recipe.cpr_weight

    def forward(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.learn(x_BCHW, y_BCHW, label_B, crop, generator)[2:]

    def learn(
        self, x_BCHW: Tensor, y_BCHW: Tensor, label_B: Tensor, crop: int, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """The middle's restoration and the router's logits, then what :meth:`forward` gives."""
        restored, logits_BSL = self.restore(x_BCHW, label_B, crop)
        total, parts = self.losses(restored, logits_BSL, middle_of(y_BCHW, crop), label_B)
        if self.contrast:
            x_BCHW = middle_of(x_BCHW, crop)
            parts["cpr"] = self.cpr(x_BCHW, restored, logits_BSL, label_B, generator)
            total = total + self.cpr_weight * parts["cpr"]
        return restored, logits_BSL, total, parts

    def restore(self, x_BCHW: Tensor, label_B: Tensor, crop: int) -> tuple[Tensor, Tensor]:
        """The middle's restoration with the selected prompts, and the router's logits."""
        with self.autocast(x_BCHW.device):
            logits_BSL = self.network.logits(x_BCHW)
            if self.recipe.selection == "label":
                w_BSN = self.network.forced(logits_BSL, label_B)
            else:
                w_BSN = self.network.select(logits_BSL)
            restored = self.network.restore(middle_of(x_BCHW, crop), w_BSN)
        return restored, logits_BSL

    def losses(
        self, y_BCHW: Tensor, logits_BSL: Tensor, target_BCHW: Tensor, label_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction, the router's cross-entropy and balance; see :meth:`forward`."""
        pixel = RECONSTRUCTION[self.recipe.loss](y_BCHW, target_BCHW)
        if not self.network.config.prompts:
            return pixel, {"loss": pixel}
        logits_BSL = logits_BSL.float()
        routing = F.cross_entropy(self.network.names(logits_BSL)[:, 0], label_B)
        total, parts = pixel + self.routing_weight * routing, {"loss": pixel, "routing": routing}
        if self.recipe.balance_weight:
            parts["balance"] = balance(self.network.choices(logits_BSL)[:, 0])
            total = total + self.recipe.balance_weight * parts["balance"]
        return total, parts

    def cpr(
        self,
        x_BCHW: Tensor,
        y_BCHW: Tensor,
        logits_BSL: Tensor,
        label_B: Tensor,
        generator: Generator,
    ) -> Tensor:
        """CPR's term for restorations ``y_BCHW`` of ``x_BCHW``, without its weight."""
        assert self.contrast
        if self.recipe.selection == "label":
            selected_B = label_B
        else:
            selected_B = self.network.choices(logits_BSL)[:, 0].argmax(-1)
        with self.autocast(x_BCHW.device):
            wrong = self.contrast.wrong_restorations(
                self.network, x_BCHW, logits_BSL, selected_B, generator
            )
        return self.contrast.term(y_BCHW, wrong)

    def turn(self, step: int) -> int | None:
        if self.recipe.trained != "own":
            return None
        mix = self.recipe.mix or {name: 1 for name in self.degradations if self._owns(name)}
        shares = [mix.get(name, 0) for name in self.degradations]
        order = [index for index, share in enumerate(shares) for _ in range(share)]
        return order[step % len(order)]

    def _owns(self, degradation: str) -> bool:
        index = self.degradations.index(degradation) if degradation in self.degradations else -1
        return index >= 0 and bool(self.network.config.owned(index))

    @property
    def uneven(self) -> bool:
        # Also where all degradations are trained at once: few crops may not show every one of them.
        return bool(self.network.config.own)

    def save(self, network: nn.Module, path: Path) -> None:
        assert isinstance(network, Student)
        save_student(self.kept(network) if self.recipe.keep else network, path)

    @torch.no_grad()
    def kept(self, network: Student) -> Student:
        """The mean of trained weights and those that the recipe started from, by its ``keep``."""
        start = StudentTask(self.recipe.model_copy(update={"keep": 0.0})).network.state_dict()
        mean = Student(network.config)
        mean.load_state_dict(
            {
                name: value.cpu().lerp(start[name], self.recipe.keep)
                for name, value in network.state_dict().items()
            }
        )
        return mean.eval()


def _router_shape(config: StudentConfig) -> tuple[object, ...]:
    return config.router_widths, config.router_hidden, config.router, config.prompt, config.outputs


def balance(logits_BN: Tensor) -> Tensor:
    """How unevenly a router chooses: 1 where it spreads a batch evenly, N where all is one choice.

    N times the sum over choices of (share that selects it) * (mean probability), equation 4 of
    Fedus et al., "Switch Transformers", JMLR 2022.
    """
    p_BN = logits_BN.softmax(-1)
    n = p_BN.shape[-1]
    share_N = F.one_hot(logits_BN.argmax(-1), n).to(p_BN.dtype).mean(0)
    return n * (share_N * p_BN.mean(0)).sum()
