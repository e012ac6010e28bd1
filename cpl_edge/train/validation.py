"""The validation curves: held-out training images, degraded once with fixed seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from cpl_edge.data.degradations import degrade
from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIR
from cpl_edge.models.student import Student


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

    @torch.no_grad()
    def run(self, network: nn.Module) -> dict[str, dict[str, Any]]:
        """Mean PSNR ``before`` and ``after`` per degradation, and what :meth:`observe` adds."""
        was_training = network.training
        network.eval()
        figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in self.kinds}
        seen: dict[str, list[Any]] = {kind: [] for kind in self.kinds}
        for kind, degraded, clean in self.pairs:
            restored, observation = self.observe(network, degraded, kind)
            figures[kind].append((_psnr(degraded, clean), _psnr(restored, clean)))
            seen[kind].append(observation)
        network.train(was_training)
        rows = {}
        for kind, values in figures.items():
            if not values:  # a dataset too small to hold one of this task out
                continue
            before, after = np.mean(values, 0).round(3).tolist()
            rows[kind] = {"before": before, "after": after, **self.summary(seen[kind])}
        return rows

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


class StudentValidation(Validation):
    """Adds ``routed``: the share of images whose degradation the router named, if it has one."""

    def observe(self, network: nn.Module, x_BCHW: Tensor, kind: str) -> tuple[Tensor, bool | None]:
        student = cast(Student, network)
        w_BSN = student.route(x_BCHW)
        if not student.config.prompts:
            return student.restore(x_BCHW, w_BSN), None
        chosen = int(w_BSN[0, 0].argmax()) // student.config.levels
        return student.restore(x_BCHW, w_BSN), student.config.degradations[chosen] == kind

    def summary(self, observations: list[Any]) -> dict[str, Any]:
        if None in observations:
            return {}
        return {"routed": float(np.mean(observations, dtype=float).round(3))}


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


def _psnr(x: Tensor, y: Tensor) -> float:
    return -10 * math.log10(max(float((x.clamp(0, 1) - y).square().mean()), 1e-10))
