"""The validation curve: held-out training images, degraded once with fixed seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cpl_edge.data.degradations import degrade
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student


class Validation:
    """PSNR per degradation and share of right selections on whole held-out images.

    Args:
        images_HWC: clean uint8 RGB images; the top-left part of at most ``side`` is used.
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
        self.kinds = tuple(kinds)
        self.pairs: list[tuple[str, Tensor, Tensor]] = []
        for seed, image in enumerate(images_HWC):
            h, w = (min(side, size // 16 * 16) for size in image.shape[:2])
            if not h * w:
                raise UserError(
                    f"a held-out image of {image.shape[1]}x{image.shape[0]} is too small"
                )
            part = torch.from_numpy(np.ascontiguousarray(image[:h, :w])).to(device)
            clean = (part.permute(2, 0, 1)[None].float() / 255).contiguous(
                memory_format=torch.channels_last
            )
            for kind in kinds:
                generator = torch.Generator(device).manual_seed(seed)
                self.pairs.append((kind, degrade(clean, kind, generator), clean))

    @torch.no_grad()
    def run(self, student: Student) -> dict[str, dict[str, float]]:
        """Mean PSNR before and after and routing accuracy, per degradation."""
        was_training = student.training
        student.eval()
        rows: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in self.kinds}
        for kind, degraded, clean in self.pairs:
            w_BSN = student.route(degraded)
            restored = student.restore(degraded, w_BSN)
            chosen = int(w_BSN[0, 0].argmax()) // student.config.levels
            right = float(student.config.degradations[chosen] == kind)
            rows[kind].append((_psnr(degraded, clean), _psnr(restored, clean), right))
        student.train(was_training)
        names = ("before", "after", "routed")
        return {
            kind: dict(zip(names, np.mean(values, 0).round(3).tolist(), strict=True))
            for kind, values in rows.items()
        }


def _psnr(x: Tensor, y: Tensor) -> float:
    return -10 * math.log10(max(float((x.clamp(0, 1) - y).square().mean()), 1e-10))
