"""A student as an 8-bit target computes it, simulated in torch: what every rounding costs.

Weights are rounded per output channel, symmetric; activations per tensor, asymmetric, with ranges
that crops were seen to need. Roundings stand where targets put them: behind every convolution
(and its ReLU), behind the product and the sum of a prompt, and behind every sum of two branches.
The router stays in float. Each operator belongs to a site, named after the module that it is part
of: ``head``, ``encoder.0.expand``, ``encoder.0.prompt``, ``encoder.0.project``, ``encoder.0.sum``,
``down``, ``up``, ``skip``, ``tail``, ``sum``. What an operator makes is a point: the site, or a
part of it as ``encoder.0.prompt:product``, and ``input``.

An operator that rounds reads rounded values, whoever made them; one that stays in float reads
what there is. So keeping a site in float spares its weights, but not its output where the next
operator rounds.

It is differentiable (:mod:`cpl_edge.quantize.rounding`), so that a student can be trained in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import PinnedBlock, PlainBlock, PromptedBlock, Student
from cpl_edge.quantize.rounding import Bound, round_activations, round_weights

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
        observe: told every value, as it is before it is rounded.
    """

    student: Student
    bits: int = 8
    exact: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[Bound, Bound]] = field(default_factory=dict)
    observe: Observe | None = None

    @property
    def points(self) -> list[str]:
        """All points in the order of execution."""
        seen: list[str] = []
        before, self.observe = self.observe, lambda point, value, needed: seen.append(point)
        try:
            side, weight = 8 * self.student.multiple, self.student.head.weight
            n = self.student.config.prompts
            x_BCHW = weight.new_zeros(1, 3, side, side)
            self.run(x_BCHW, weight.new_full((1, 1, n), 1 / n), rounding=False)
        finally:
            self.observe = before
        return seen

    @property
    def sites(self) -> list[str]:
        """All sites in the order of execution."""
        return list(dict.fromkeys(p.split(":")[0] for p in self.points if p != "input"))

    @torch.inference_mode()
    def run(
        self, x_BCHW: Tensor, w_BSN: Tensor, rounding: bool = True, integers: bool = False
    ) -> Tensor:
        """Restore with given prompt weights; without gradients.

        Args:
            x_BCHW: RGB in [0, 1].
            w_BSN: prompt weights of each image.
            rounding: False: as the student itself does.
            integers: compute as a delegate does, see `cpl_edge.quantize.integers`: the numbers of
                the file itself, where floats only give numbers as good as those.
        """
        from cpl_edge.quantize.integers import IntegerPass

        one_pass = IntegerPass(self, rounding) if integers else FloatPass(self, rounding)
        return self.execute(one_pass, x_BCHW, w_BSN)

    def restore(self, x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        """Restore with rounding and gradients."""
        return self.execute(FloatPass(self, True), x_BCHW, w_BSN)

    def execute(self, run: FloatPass, x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        """Restore in an execution of the caller's choice."""
        student, w_BN = self.student, w_BSN[:, 0]
        x = run.given("input", x_BCHW)
        y = run.conv("head", student.head, x, before=unshuffle)
        skip = self._blocks(run, "encoder", student.encoder, y, w_BN)
        y = run.conv("down", student.down, skip)
        y = self._blocks(run, "middle", student.middle, y, w_BN)
        y = run.conv("up", student.up, y, after=shuffle)
        y = run.add("skip", y, skip)
        y = self._blocks(run, "decoder", student.decoder, y, w_BN)
        y = run.conv("tail", student.tail, y, after=shuffle)
        return run.add("sum", x, y).value

    def _blocks(
        self, run: FloatPass, stage: str, modules: nn.ModuleList, y: Value, w_BN: Tensor
    ) -> Value:
        for i, block in enumerate(modules):
            at = f"{stage}.{i}"
            if isinstance(block, PromptedBlock):
                h = self._prompt(run, at, block, y, w_BN)
            else:
                assert isinstance(block, PinnedBlock | PlainBlock)
                h = run.conv(f"{at}.expand", block.expand, y, relu=True)
            y = run.add(f"{at}.sum", y, run.conv(f"{at}.project", block.project, h))
        return y

    def _prompt(
        self, run: FloatPass, at: str, block: PromptedBlock, y: Value, w_BN: Tensor
    ) -> Value:
        site = f"{at}.prompt"
        scale = (1 + w_BN @ block.scale_NC)[:, :, None, None]
        shift = (w_BN @ block.shift_NC)[:, :, None, None]
        h = run.conv(f"{at}.expand", block.expand, y, needed=lambda h: _needed(h, scale, shift))
        a = run.given(f"{site}:scale", scale, lambda _: 1 + block.scale_NC)
        b = run.given(f"{site}:shift", shift, lambda _: block.shift_NC)
        one = torch.ones((), device=scale.device)
        h = run.multiply(f"{site}:product", h, a, lambda h: _needed(h, one, shift))
        return run.add(f"{site}:sum", h, b, relu=True)


Needed = Callable[[Tensor], Tensor]
Reshape = Callable[[Tensor], Tensor]


def unshuffle(value: Tensor) -> Tensor:
    """Pixels to channels."""
    return F.pixel_unshuffle(value, 2)


def shuffle(value: Tensor) -> Tensor:
    """Channels to pixels."""
    return F.pixel_shuffle(value, 2)


@dataclass
class Value:
    """What an operator made.

    Attributes:
        point: its name.
        value: rounded or not.
        is_rounded: whether it is by now.
        integers: steps from zero, where they are computed with.
    """

    point: str
    value: Tensor
    is_rounded: bool = False
    integers: Tensor | None = None


@dataclass
class FloatPass:
    """One execution, in floats that are rounded.

    Attributes:
        simulation: says what rounds where.
        rounding: False: nothing does.
    """

    simulation: Simulation
    rounding: bool

    def rounds(self, point: str) -> bool:
        """Whether the operator that makes a point rounds."""
        return self.rounding and point.split(":")[0] not in self.simulation.exact

    def given(self, point: str, value: Tensor, needed: Needed | None = None) -> Value:
        """A value that was made in float; it is rounded for the operator that reads it."""
        if (observe := self.simulation.observe) is not None:
            observe(point, value, value if needed is None else needed(value))
        return Value(point, value)

    def read(self, point: str, value: Value) -> Tensor:
        """What the operator that makes a point reads of a value."""
        if self.rounds(point) and not value.is_rounded:
            self.round(value)
        return value.value

    def round(self, value: Value) -> None:
        """Round a value in place."""
        low, high = self.simulation.ranges[value.point]
        value.value = round_activations(value.value, low, high, self.simulation.bits)
        value.is_rounded = True

    def conv(
        self,
        point: str,
        module: nn.Module,
        value: Value,
        relu: bool = False,
        before: Reshape | None = None,
        after: Reshape | None = None,
        needed: Needed | None = None,
    ) -> Value:
        """A convolution, its ReLU and the shuffles around it."""
        conv, relu = convolution(module, relu)
        read, weight = self.read(point, value), conv.weight
        if self.rounds(point):
            weight = round_weights(weight)
        out = self.convolve(point, conv, before(read) if before else read, weight)
        out = F.relu(out) if relu else out
        return self._made(point, after(out) if after else out, needed)

    def convolve(self, point: str, conv: nn.Conv2d, x_BCHW: Tensor, weight: Tensor) -> Tensor:
        """A convolution alone, without its ReLU."""
        return F.conv2d(x_BCHW, weight, conv.bias, conv.stride, conv.padding)

    def multiply(self, point: str, a: Value, b: Value, needed: Needed | None = None) -> Value:
        """A product."""
        return self._made(point, self.read(point, a) * self.read(point, b), needed)

    def add(self, point: str, a: Value, b: Value, relu: bool = False) -> Value:
        """A sum and its ReLU."""
        out = self.read(point, a) + self.read(point, b)
        return self._made(point, F.relu(out) if relu else out)

    def _made(self, point: str, value: Tensor, needed: Needed | None = None) -> Value:
        made = self.given(point, value, needed)
        self.read(point, made)
        return made


def convolution(module: nn.Module, relu: bool) -> tuple[nn.Conv2d, bool]:
    """The convolution of a module, and whether a ReLU follows it."""
    if isinstance(module, nn.Sequential):
        module, relu = module[0], True
    assert isinstance(module, nn.Conv2d)
    return module, relu


def _needed(h_BCHW: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """What a range of h must hold so that ``relu(scale h + shift)`` stays as it is.

    Values that the ReLU drops may saturate as long as it still drops them, so each of them asks
    only for the threshold of its channel, or for 0 where that lies on the other side.
    """
    threshold = (-shift / torch.where(scale == 0, 1e-12, scale)).expand_as(h_BCHW)
    side = torch.where(scale > 0, threshold.clamp(max=0), threshold.clamp(min=0))
    side = torch.maximum(torch.minimum(side, h_BCHW.max()), h_BCHW.min())
    return torch.where(h_BCHW * scale + shift > 0, h_BCHW, side)


def sqnr(exact: Sequence[Tensor], rounded: Sequence[Tensor]) -> float:
    """Signal to rounding noise in dB over pairs of tensors."""
    signal = sum(float(e.square().sum()) for e in exact)
    noise = sum(float((e - r).square().sum()) for e, r in zip(exact, rounded, strict=True))
    return 10 * float(torch.log10(torch.tensor(signal / max(noise, 1e-30))))
