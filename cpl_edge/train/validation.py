"""The validation curves: held-out training images, degraded once with fixed seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from cpl_edge.data.degradations import degrade
from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIR
from cpl_edge.models.student import Student

SAMPLES = 12
"""Pairs that :meth:`Validation.samples` shows: as many rows as one looks at."""


@dataclass(frozen=True)
class Sample:
    """One held-out image and what a network makes of it.

    Attributes:
        kind: its degradation.
        images_HWC: degraded, restored and clean, uint8 RGB of one size.
        before: PSNR of the degraded image in dB.
        after: PSNR of the restored one.
        selected: what the router selected, in words: one line or more.
        right: whether the router named the degradation; None where it names none.
    """

    kind: str
    images_HWC: tuple[np.ndarray, np.ndarray, np.ndarray]
    before: float
    after: float
    selected: tuple[str, ...]
    right: bool | None


class Choice(NamedTuple):
    """What a student's router selected for an image whose degradation is known."""

    named: str
    levels: tuple[float, ...]
    right: bool


class Validation:
    """PSNR per degradation on whole held-out images, and what a kind of network adds to it.

    Args:
        images_HWC: clean uint8 RGB images; the top-left part of at most ``side`` is used. Pairs
            that exist already come by :meth:`add`.
        kinds: degradations to apply.
        device: where to validate.
        side: largest side in pixels.

    Raises:
        UserError: an image is smaller than 16 pixels.
    """

    def __init__(
        self,
        images_HWC: Sequence[np.ndarray],
        kinds: Sequence[str],
        device: torch.device | str = "cpu",
        side: int = 320,
    ) -> None:
        self.kinds, self.side = tuple(kinds), side
        self.pairs: list[tuple[str, Tensor, Tensor]] = []
        for seed, image in enumerate(images_HWC):
            clean = as_batch(image, side).to(device)
            for kind in kinds:
                generator = torch.Generator(device).manual_seed(seed)
                self.add(kind, degrade(clean, kind, generator), clean)

    def add(self, kind: str, x_BCHW: Tensor, y_BCHW: Tensor) -> None:
        """Validate one more pair: a degraded image on the device and its clean one."""
        self.pairs.append((kind, x_BCHW, y_BCHW))

    def run(self, network: nn.Module) -> dict[str, dict[str, Any]]:
        """Mean PSNR ``before`` and ``after`` per degradation, and what :meth:`observe` adds."""
        figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in self.kinds}
        seen: dict[str, list[Any]] = {kind: [] for kind in self.kinds}
        with _evaluating(network):
            for kind, degraded, clean in self.pairs:
                restored, observation = self.observe(network, degraded, kind)
                figures[kind].append((_psnr(degraded, clean), _psnr(restored, clean)))
                seen[kind].append(observation)
        rows = {}
        for kind, values in figures.items():
            if not values:  # a dataset too small to hold one of this task out
                continue
            before, after = np.mean(values, 0).round(3).tolist()
            rows[kind] = {"before": before, "after": after, **self.summary(seen[kind])}
        return rows

    def samples(self, network: nn.Module) -> list[Sample]:
        """What a network makes of the first one or two pairs of each degradation."""
        each = max(1, min(2, SAMPLES // len(self.kinds)))
        shown = []
        with _evaluating(network):
            for kind in self.kinds:
                for _, degraded, clean in [pair for pair in self.pairs if pair[0] == kind][:each]:
                    restored, observation = self.observe(network, degraded, kind)
                    selected, right = self.describe(observation)
                    shown.append(
                        Sample(
                            kind,
                            (_pixels(degraded), _pixels(restored), _pixels(clean)),
                            _psnr(degraded, clean),
                            _psnr(restored, clean),
                            selected,
                            right,
                        )
                    )
        return shown

    def observe(self, network: nn.Module, x_BCHW: Tensor, kind: str) -> tuple[Tensor, Any]:
        """Restore one image.

        Args:
            network: in evaluation mode.
            x_BCHW: the image.
            kind: its degradation.

        Returns:
            The restoration, and what :meth:`summary` is to sum up.
        """
        raise NotImplementedError

    def summary(self, observations: list[Any]) -> dict[str, Any]:
        """Figures of one degradation beside PSNR."""
        raise NotImplementedError

    def describe(self, observation: Any) -> tuple[tuple[str, ...], bool | None]:
        """One observation as :attr:`Sample.selected` and :attr:`Sample.right`."""
        raise NotImplementedError


class StudentValidation(Validation):
    """Adds ``routed``: the share of images whose degradation the router named, if it has one."""

    def observe(
        self, network: nn.Module, x_BCHW: Tensor, kind: str
    ) -> tuple[Tensor, Choice | None]:
        student = cast(Student, network)
        w_BSN = student.route(x_BCHW)
        if not student.config.prompts:
            return student.restore(x_BCHW, w_BSN), None
        w_DM = w_BSN[0, 0].reshape(-1, student.config.levels)
        chosen = int(w_DM.argmax()) // student.config.levels
        named = student.config.degradations[chosen]
        choice = Choice(named, tuple(w_DM[chosen].tolist()), named == kind)
        return student.restore(x_BCHW, w_BSN), choice

    def summary(self, observations: list[Any]) -> dict[str, Any]:
        if None in observations:
            return {}
        right = [choice.right for choice in observations]
        return {"routed": float(np.mean(right, dtype=float).round(3))}

    def describe(self, observation: Choice | None) -> tuple[tuple[str, ...], bool | None]:
        if observation is None:
            return ("no prompts",), None
        named, levels, right = observation
        weights = " ".join(f"{w:.2f}" for w in levels)
        return (f"routed to {named}{'' if right else ' (wrong)'}", f"levels {weights}"), right


class TeacherValidation(Validation):
    """Adds ``selected``: per site 3, 2, 1, on how many images each prompt weighed most."""

    def observe(self, network: nn.Module, x_BCHW: Tensor, kind: str) -> tuple[Tensor, list[Tensor]]:
        y_BCHW, routes = cast(PromptIR, network)(x_BCHW, None, True)
        return y_BCHW, [route.w_BN[0] for route in routes]

    def summary(self, observations: list[Any]) -> dict[str, Any]:
        if not len(observations[0][0]):  # no prompts
            return {}
        sites = zip(*observations, strict=True)
        most = [torch.stack([w_N.argmax() for w_N in site]) for site in sites]
        counts = [len(w_N) for w_N in observations[0]]
        return {
            "selected": [
                most_I.bincount(minlength=n).tolist()
                for most_I, n in zip(most, counts, strict=True)
            ]
        }

    def describe(self, observation: list[Tensor]) -> tuple[tuple[str, ...], bool | None]:
        if not len(observation[0]):
            return ("no prompts",), None
        # Prompts are counted from 1, as in the prompt report.
        most = [(int(w_N.argmax()) + 1, float(w_N.max())) for w_N in observation]
        names = zip((3, 2, 1), most, strict=True)
        return tuple(f"site {site}: prompt {n} ({w:.2f})" for site, (n, w) in names), None


def as_batch(image_HWC: np.ndarray, side: int) -> Tensor:
    """The top-left part of an image, float RGB ``x_BCHW`` in [0, 1] in channels-last memory.

    Args:
        image_HWC: uint8 RGB.
        side: largest side; both are cut to multiples of 16.

    Raises:
        UserError: the image is smaller than 16 pixels.
    """
    h, w = (min(side, size // 16 * 16) for size in image_HWC.shape[:2])
    if not h * w:
        raise UserError(
            f"a held-out image of {image_HWC.shape[1]}x{image_HWC.shape[0]} is too small"
        )
    part = torch.from_numpy(np.ascontiguousarray(image_HWC[:h, :w]))
    x_BCHW = part.permute(2, 0, 1)[None].float() / 255
    return x_BCHW.contiguous(memory_format=torch.channels_last)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of before is put back."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        yield
    network.train(was_training)


def _pixels(x_BCHW: Tensor) -> np.ndarray:
    """The only image of a batch as uint8 RGB ``image_HWC``."""
    x_HWC = (x_BCHW[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(x_HWC.cpu().numpy())


def _psnr(x: Tensor, y: Tensor) -> float:
    return -10 * math.log10(max(float((x.clamp(0, 1) - y).square().mean()), 1e-10))
