"""A student as an 8-bit target computes it, simulated in torch: what every rounding costs.

Weights are rounded per output channel, symmetric; activations per tensor, asymmetric, with ranges
that crops were seen to need. Roundings stand where targets put them: behind every convolution
(and its ReLU), behind the product and the sum of a prompt, and behind every sum of two branches.
The router stays in float. Each rounding belongs to a site, named after the module before it:
``head``, ``encoder.0.expand``, ``encoder.0.prompt``, ``encoder.0.project``, ``encoder.0.sum``,
``down``, ``up``, ``skip``, ``tail``, ``sum``, and ``input``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import PinnedBlock, PromptedBlock, Student

Observer = Callable[[str, Tensor], None]


@dataclass
class Simulation:
    """A student whose restoring rounds.

    Attributes:
        student: in evaluation mode.
        bits: of activations; weights always have 8.
        exact: sites that stay in float, weights included.
        ranges: point -> smallest and largest value; filled by :meth:`calibrate`.
        observe: told every value before it is rounded, to compare runs.
    """

    student: Student
    bits: int = 8
    exact: frozenset[str] = frozenset()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    observe: Observer | None = None
    _calibrating: bool = False

    @property
    def sites(self) -> list[str]:
        """All sites in the order of execution."""
        seen: dict[str, None] = {}
        before, self.observe = self.observe, lambda point, _: seen.setdefault(point.split(":")[0])
        try:
            side = 8 * self.student.multiple
            n = self.student.config.prompts
            self.run(torch.zeros(1, 3, side, side), torch.full((1, 1, n), 1 / n), rounding=False)
        finally:
            self.observe = before
        return list(seen)

    def calibrate(self, crops: Iterable[Tensor]) -> None:
        """Take the smallest and largest value of every point over crops ``x_BCHW``."""
        self._calibrating = True
        try:
            for x_BCHW in crops:
                self.run(x_BCHW, self.student.route(x_BCHW).detach(), rounding=False)
        finally:
            self._calibrating = False

    @torch.inference_mode()
    def run(self, x_BCHW: Tensor, w_BSN: Tensor, rounding: bool = True) -> Tensor:
        """Restore with given prompt weights."""
        student, w_BN = self.student, w_BSN[:, 0]

        def point(site: str, value: Tensor, part: str = "") -> Tensor:
            name = f"{site}:{part}" if part else site
            if self.observe is not None:
                self.observe(name, value)
            if self._calibrating:
                low, high = self.ranges.get(name, (0.0, 0.0))
                self.ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
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
                    h = point(f"{at}.expand", h)
                    scale, shift = 1 + w_BN @ block.scale_NC, w_BN @ block.shift_NC
                    h = point(f"{at}.prompt", h * scale[:, :, None, None], "product")
                    h = point(f"{at}.prompt", F.relu(h + shift[:, :, None, None]), "sum")
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
        return point("sum", x_BCHW + y)


def round_activations(value: Tensor, low: float, high: float, bits: int = 8) -> Tensor:
    """Round to ``2**bits`` steps from low to high (widened to hold 0), and clip."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / (2**bits - 1), 1e-12)
    zero = round(-low / step)
    steps = torch.clamp(torch.round(value / step) + zero, 0, 2**bits - 1)
    return (steps - zero) * step


def round_weights(weight: Tensor) -> Tensor:
    """Round a convolution's weights to -127...127 steps per output channel."""
    step = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / 127
    return torch.round(weight / step) * step


def sqnr(exact: Sequence[Tensor], rounded: Sequence[Tensor]) -> float:
    """Signal to rounding noise in dB over pairs of tensors."""
    signal = sum(float(e.square().sum()) for e in exact)
    noise = sum(float((e - r).square().sum()) for e, r in zip(exact, rounded, strict=True))
    return 10 * float(torch.log10(torch.tensor(signal / max(noise, 1e-30))))
