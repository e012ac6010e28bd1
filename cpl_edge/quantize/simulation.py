"""A student as an 8-bit target computes it, simulated in torch: what every rounding costs.

Weights are rounded per output channel, symmetric; activations per tensor, asymmetric, with ranges
that crops were seen to need. Roundings stand where targets put them: behind every convolution
(and its ReLU), behind the product and the sum of a prompt, and behind every sum of two branches.
The router stays in float. Each rounding belongs to a site, named after the module before it:
``head``, ``encoder.0.expand``, ``encoder.0.prompt``, ``encoder.0.project``, ``encoder.0.sum``,
``down``, ``up``, ``skip``, ``tail``, ``sum``, and ``input``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import PinnedBlock, PromptedBlock, Student

Observe = Callable[[str, Tensor, Tensor], None]
"""Told a point, its value, and what a range must hold of it (see :func:`_needed`)."""


@dataclass
class Simulation:
    """A student whose restoring rounds.

    Attributes:
        student: in evaluation mode.
        bits: of activations; weights always have 8.
        exact: sites that stay in float, weights included.
        ranges: point -> smallest and largest value, see `cpl_edge.quantize.ranges`.
        observe: told every value before it is rounded.
    """

    student: Student
    bits: int = 8
    exact: frozenset[str] = frozenset()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    observe: Observe | None = None

    @property
    def points(self) -> list[str]:
        """All points in the order of execution: sites, and parts of them as ``site:part``."""
        seen: list[str] = []
        before, self.observe = self.observe, lambda point, value, needed: seen.append(point)
        try:
            side = 8 * self.student.multiple
            n = self.student.config.prompts
            self.run(torch.zeros(1, 3, side, side), torch.full((1, 1, n), 1 / n), rounding=False)
        finally:
            self.observe = before
        return seen

    @property
    def sites(self) -> list[str]:
        """All sites in the order of execution."""
        return list(dict.fromkeys(point.split(":")[0] for point in self.points))

    @torch.inference_mode()
    def run(self, x_BCHW: Tensor, w_BSN: Tensor, rounding: bool = True) -> Tensor:
        """Restore with given prompt weights."""
        student, w_BN = self.student, w_BSN[:, 0]

        def point(site: str, value: Tensor, part: str = "", needed: Tensor | None = None) -> Tensor:
            name = f"{site}:{part}" if part else site
            if self.observe is not None:
                self.observe(name, value, value if needed is None else needed)
            if not rounding or site in self.exact:
                return value
            return round_activations(value, *self.ranges[name], bits=self.bits)

        def conv(site: str, module: nn.Module, value: Tensor) -> Tensor:
            layers = list(module) if isinstance(module, nn.Sequential) else [module]
            first = layers[0]
            assert isinstance(first, nn.Conv2d)
            weight = first.weight
            if rounding and site not in self.exact:
                weight = round_weights(weight)
            out = F.conv2d(value, weight, first.bias, first.stride, first.padding)
            return F.relu(out) if len(layers) > 1 else out

        def blocks(name: str, modules: nn.ModuleList, y: Tensor) -> Tensor:
            for i, block in enumerate(modules):
                at = f"{name}.{i}"
                h = conv(f"{at}.expand", block.expand, y)  # type: ignore[arg-type]
                if isinstance(block, PromptedBlock):
                    scale = (1 + w_BN @ block.scale_NC)[:, :, None, None]
                    shift = (w_BN @ block.shift_NC)[:, :, None, None]
                    h = point(f"{at}.expand", h, needed=_needed(h, scale, shift))
                    scale = point(f"{at}.prompt", scale, "scale", 1 + block.scale_NC)
                    shift = point(f"{at}.prompt", shift, "shift", block.shift_NC)
                    h = h * scale
                    h = point(f"{at}.prompt", h, "product", _needed(h, torch.ones(1), shift))
                    h = point(f"{at}.prompt", F.relu(h + shift), "sum")
                else:
                    assert isinstance(block, PinnedBlock)
                    h = point(f"{at}.expand", F.relu(h))
                p = point(f"{at}.project", conv(f"{at}.project", block.project, h))
                y = point(f"{at}.sum", y + p)
            return y

        x_BCHW = point("input", x_BCHW)
        y = point("head", conv("head", student.head, F.pixel_unshuffle(x_BCHW, 2)))
        skip = blocks("encoder", student.encoder, y)
        y = point("down", conv("down", student.down, skip))
        y = blocks("middle", student.middle, y)
        y = point("up", F.pixel_shuffle(conv("up", student.up, y), 2))
        y = blocks("decoder", student.decoder, point("skip", y + skip))
        y = point("tail", F.pixel_shuffle(conv("tail", student.tail, y), 2))
        restored: Tensor = point("sum", x_BCHW + y)
        return restored


def _needed(h_BCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """What a range of h must hold so that ``relu(scale h + shift)`` stays as it is.

    Values that the ReLU drops may saturate as long as it still drops them, so each of them asks
    only for the threshold of its channel, or for 0 where that lies on the other side.
    """
    threshold = (-shift / torch.where(scale == 0, 1e-12, scale)).expand_as(h_BCHW)
    side = torch.where(scale > 0, threshold.clamp(max=0), threshold.clamp(min=0))
    side = torch.maximum(torch.minimum(side, h_BCHW.max()), h_BCHW.min())
    return torch.where(h_BCHW * scale + shift > 0, h_BCHW, side)


def round_activations(value: Tensor, low: float, high: float, bits: int = 8) -> Tensor:
    """Round to ``2**bits`` steps from low to high (widened to hold 0), and clip."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / (2**bits - 1), 1e-12)
    zero = round(-low / step)
    steps = torch.clamp(torch.round(value / step) + zero, 0, 2**bits - 1)
    rounded: Tensor = (steps - zero) * step
    return rounded


def round_weights(weight: Tensor) -> Tensor:
    """Round a convolution's weights to -127...127 steps per output channel."""
    step = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / 127
    return torch.round(weight / step) * step


def sqnr(exact: Sequence[Tensor], rounded: Sequence[Tensor]) -> float:
    """Signal to rounding noise in dB over pairs of tensors."""
    signal = sum(float(e.square().sum()) for e in exact)
    noise = sum(float((e - r).square().sum()) for e, r in zip(exact, rounded, strict=True))
    return 10 * float(torch.log10(torch.tensor(signal / max(noise, 1e-30))))
