"""Blocks rewritten, without changing their function, so that rounding costs them least.

A prompted block ``project(relu(s h + b))`` with ``h = expand(x)`` is rounded at five points with
one step for all channels: h, s, b, the product and the sum. It has three free numbers for each
channel c, since a ReLU passes positive factors::

    h' = alpha (h + t)    s' = s beta / alpha    b' = beta (b - s t)    project' = project / beta

Which of them are best is a trade: a factor that makes h fine makes s coarse. So the noise that
the roundings add to the output of ``project`` is written down for every calibration crop, as that
of uniform errors (Bennett, "Spectra of quantized signals", 1948), and minimised. That a transform
of the same function is learned for quantisation's sake is OmniQuant's idea (Shao et al., ICLR 2024,
"learnable equivalent transformation"); here the loss needs no run of the network.

Legend: K crops, N prompts, C channels, O output channels of ``project``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import PromptedBlock, Student
from cpl_edge.quantize.calibration import Calibration

_LEVELS, _WEIGHT_LEVELS = 255, 127
_POWER = 16  # of the mean that stands for a maximum and has a gradient for every channel
_ROUNDS, _RATE = 400, 0.03


def balance(student: Student, calibration: Calibration) -> Student:
    """A student of the same function whose prompted blocks lose least by rounding.

    Args:
        student: in evaluation mode; it is not changed. Blocks without prompts stay as they are.
        calibration: crops, with what they were.

    Returns:
        A copy.
    """
    student = copy.deepcopy(student)
    seen, weight_K = _watch(student, calibration)
    for block, crops in seen.items():
        _rewrite(block, _Statistics.of(block, crops, weight_K))
    return student


@dataclass(frozen=True)
class _Statistics:
    """What a block shows on the crops: h where the ReLU passes it, and each crop's s and b."""

    share_KC: Tensor  # of pixels that pass
    mean_KC: Tensor  # of h, as the next three
    square_KC: Tensor
    low_KC: Tensor
    high_KC: Tensor
    s_KC: Tensor
    b_KC: Tensor
    s_NC: Tensor
    b_NC: Tensor
    project_OC: Tensor  # largest weight of each pair of channels
    gain_C: Tensor  # squared weights that read a channel
    weight_K: Tensor

    @classmethod
    def of(
        cls, block: PromptedBlock, crops: list[tuple[Tensor, ...]], weight_K: Tensor
    ) -> _Statistics:
        weight = block.project.weight.detach()
        share, mean, square, low, high, s, b = map(torch.stack, zip(*crops, strict=True))
        return cls(
            share_KC=share,
            mean_KC=mean,
            square_KC=square,
            low_KC=low,
            high_KC=high,
            s_KC=s,
            b_KC=b,
            s_NC=(1 + block.scale_NC).detach(),
            b_NC=block.shift_NC.detach(),
            project_OC=weight.abs().amax((2, 3)),
            gain_C=weight.square().sum((0, 2, 3)),
            weight_K=weight_K,
        )

    def noise(self, alpha_C: Tensor, beta_C: Tensor, t_C: Tensor) -> Tensor:
        """Mean square that the roundings add to the output of ``project``."""
        ratio_C = beta_C / alpha_C
        low_KC, high_KC = self.low_KC + t_C, self.high_KC + t_C
        ends = torch.stack([self.s_KC * low_KC, self.s_KC * high_KC])
        sums_KC = (ends.amax(0) + self.b_KC - self.s_KC * t_C).relu()
        h = _step(alpha_C * low_KC, alpha_C * high_KC)
        s = _step(ratio_C * self.s_NC, ratio_C * self.s_NC)
        b_NC = beta_C * (self.b_NC - self.s_NC * t_C)
        products = _step(beta_C * ends.amin(0), beta_C * ends.amax(0))
        sums = _step(torch.zeros_like(sums_KC), beta_C * sums_KC)
        one_sided = _step(b_NC, b_NC).square() + products.square() + sums.square()
        square_KC = self.square_KC + 2 * t_C * self.mean_KC + t_C.square()
        error_KC = (
            (self.s_KC * h / alpha_C).square()
            + square_KC * (s / ratio_C).square()
            + one_sided / beta_C.square()
        )
        noise_K = (self.share_KC * error_KC * self.gain_C).sum(1)
        # The weights of ``project`` become coarse where beta is small.
        coarse_O = _largest(self.project_OC / beta_C) / _WEIGHT_LEVELS
        power_KC = self.s_KC.square() * self.square_KC + 2 * self.s_KC * self.b_KC * self.mean_KC
        power_KC = self.share_KC * (power_KC + self.b_KC.square()).clamp(min=0)
        noise_K = noise_K + 9 * coarse_O.square().sum() * (power_KC * beta_C.square()).sum(1)
        return (noise_K * self.weight_K).sum() / 12


def _largest(value: Tensor) -> Tensor:
    """Almost the largest magnitude along the last dimension, but with gradients for all."""
    largest: Tensor = torch.linalg.vector_norm(value, _POWER, dim=-1)
    return largest


def _step(low: Tensor, high: Tensor) -> Tensor:
    """Step of a rounding that holds these ends and 0: largest over rows, then channels."""
    top = _largest(high.relu().amax(0))
    return (top + _largest((-low).relu().amax(0))) / _LEVELS


def _rewrite(block: PromptedBlock, seen: _Statistics) -> None:
    """Find alpha, beta and t, and put them into the block."""
    channels = len(seen.gain_C)
    logs = torch.zeros(2, channels, requires_grad=True)
    t_C = torch.zeros(channels, requires_grad=True)
    spread_C = (seen.high_KC.amax(0) - seen.low_KC.amin(0)).clamp(min=1e-6)
    optimiser = torch.optim.Adam([logs, t_C], lr=_RATE)
    start = float(seen.noise(torch.ones(channels), torch.ones(channels), torch.zeros(channels)))
    best = start, torch.ones(channels), torch.ones(channels), torch.zeros(channels)
    for _ in range(_ROUNDS):
        alpha_C, beta_C = logs.exp()
        noise = seen.noise(alpha_C, beta_C, t_C * spread_C)
        if (found := float(noise.detach())) < best[0]:
            best = found, alpha_C.detach(), beta_C.detach(), (t_C * spread_C).detach()
        optimiser.zero_grad()
        (noise / start).log().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    _, alpha_C, beta_C, t = best
    conv = block.expand
    assert isinstance(conv, nn.Conv2d), "balance before one_sided"
    assert conv.bias is not None
    with torch.no_grad():
        s_NC = 1 + block.scale_NC
        conv.weight.mul_(alpha_C[:, None, None, None])
        conv.bias.add_(t).mul_(alpha_C)
        block.shift_NC.sub_(s_NC * t).mul_(beta_C)
        block.scale_NC.copy_(s_NC * (beta_C / alpha_C) - 1)
        block.project.weight.div_(beta_C[None, :, None, None])


def _watch(
    student: Student, calibration: Calibration
) -> tuple[dict[PromptedBlock, list[tuple[Tensor, ...]]], Tensor]:
    """Statistics of every prompted block and crop, and what noise on each crop weighs."""
    seen: dict[PromptedBlock, list[tuple[Tensor, ...]]] = {
        module: [] for module in student.modules() if isinstance(module, PromptedBlock)
    }

    def look(block: PromptedBlock, inputs: tuple[Tensor, ...]) -> None:
        x_BCHW, w_BN = inputs
        h_CP = block.expand(x_BCHW)[0].flatten(1)
        s_C, b_C = (1 + w_BN @ block.scale_NC)[0], (w_BN @ block.shift_NC)[0]
        passes = (s_C[:, None] * h_CP + b_C[:, None] > 0).to(h_CP.dtype)
        count_C = passes.sum(1).clamp(min=1)
        mean_C, square_C = (h_CP * passes).sum(1) / count_C, (h_CP**2 * passes).sum(1) / count_C
        low_C, high_C = (h_CP * passes).amin(1), (h_CP * passes).amax(1)
        seen[block].append((passes.mean(1), mean_C, square_C, low_C, high_C, s_C, b_C))

    handles = [block.register_forward_pre_hook(look) for block in seen]
    weights = []
    try:
        with torch.no_grad():
            for x_BCHW, clean_BCHW in zip(calibration.crops, calibration.clean, strict=True):
                # The same noise costs more decibels where the student's own error is small.
                error = F.mse_loss(student(x_BCHW).clamp(0, 1), clean_BCHW)
                weights.append(1 / float(error + 1e-4))
    finally:
        for handle in handles:
            handle.remove()
    return seen, torch.tensor(weights) / sum(weights)
