"""A student as fp16 hardware computes it: what it loses, and how near it comes to overflow.

Every operator's result is rounded to fp16, and so are the weights. Products of two such values are
exact in float32, so this is hardware that accumulates in fp32 and stores fp16. With ``half_sums``
the accumulator is fp16 as well, rounded after every single product: the hardest that fp16 can be,
since real hardware adds in blocks. The router stays in fp32, as exports keep it; its magnitudes are
shown because they say why.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cpl_edge.errors import CplEdgeError
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import load_student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.figures import Judge
from cpl_edge.quantize.recipe import CalibrationSet

LARGEST = 65504.0
"""The largest number of fp16."""

_CROPS = CalibrationSet(crops=2, seed=0)  # of each degradation, from the judging photos
_OUTSIDE = "between modules"  # sums and shuffles of the student itself
_ROUTER = "router"

aten = torch.ops.aten


@dataclass(frozen=True)
class HalfReport:
    """What fp16 does to a student.

    Attributes:
        parity_db: PSNR against the fp32 student's images, of the worst crop.
        drops: degradation -> mean and worst loss of PSNR against the clean crops, in dB.
        largest: module -> largest finite magnitude of anything that it computes, before rounding,
            with its accumulators if they are fp16; the router's too, which stays in fp32.
        overflow: the module that exceeded fp16 first, or None; what follows it means nothing.
        half_sums: whether accumulators were fp16.
    """

    parity_db: float
    drops: dict[str, dict[str, float]]
    largest: dict[str, float]
    overflow: str | None
    half_sums: bool

    @property
    def nearest(self) -> str:
        """The module of those in fp16 that comes nearest to overflow, or overflows first."""
        half = {name: value for name, value in self.largest.items() if not in_router(name)}
        return self.overflow or max(half, key=lambda name: half[name])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        shares = {name: value / LARGEST for name, value in self.largest.items()}
        return {**asdict(self), "shares": shares, "nearest": self.nearest}


class HalfStudent:
    """A student that restores in fp16 and watches magnitudes.

    Args:
        student: in evaluation mode; it is not changed.
        half_sums: accumulate in fp16.
    """

    def __init__(self, student: Student, half_sums: bool = False) -> None:
        self._student = copy.deepcopy(student)
        self.mode = _Half(half_sums)
        with torch.no_grad():
            for name, parameter in self._student.named_parameters():
                if not in_router(name):
                    parameter.copy_(_to_half(parameter))
        for name, module in self._student.named_modules():
            if name:
                self.mode.follow(name, module)

    def restore(self, x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        """Restore with given prompt weights."""
        with torch.no_grad(), self.mode.running():
            return self._student.restore(_to_half(x_BCHW), _to_half(w_BSN))

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """Outputs of the router in fp32, to see how large its values become."""
        with torch.no_grad(), self.mode.running():
            logits_BL: Tensor = self._student.router(x_BCHW)
            return logits_BL


def examine(
    name: str, size: tuple[int, int], data: Path | None = None, half_sums: bool = False
) -> HalfReport:
    """Run a student in fp16 on degraded crops.

    Args:
        name: of the student.
        size: of the crops.
        data: photos, or None for those that come with scikit-image.
        half_sums: accumulate in fp16.

    Raises:
        UserError: no such student, or no photos.
    """
    student = load_student(name)
    judged = make_calibration(_CROPS, student.config.degradations, size, data, judging=True)
    return examine_student(student, Judge(student, judged), half_sums)


def examine_student(student: Student, judge: Judge, half_sums: bool = False) -> HalfReport:
    """The same for a student at hand, on the crops of a judge."""
    half = HalfStudent(student, half_sums)
    made = {
        id(x): half.restore(x, w) for x, w in zip(judge.judged.crops, judge.routed, strict=True)
    }

    def restore(x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        return made[id(x_BCHW)].nan_to_num(0.0)

    if student.config.prompts:
        half.logits(judge.judged.crops[0])
    losses = judge.losses(restore)
    drops = {
        degradation: {"mean": loss.mean, "worst": loss.worst}
        for degradation, loss in losses.items()
    }
    mode = half.mode
    return HalfReport(judge.parity(restore), drops, dict(mode.largest), mode.overflow, half_sums)


def show(report: HalfReport) -> None:
    """Print the modules, the largest first, and what fp16 costs.

    Raises:
        CplEdgeError: a module overflows.
    """
    table = Table("module", "largest", "of 65504", "computed in")
    for name in sorted(report.largest, key=lambda name: -report.largest[name]):
        value = report.largest[name]
        kind = "fp32" if in_router(name) else "fp16"
        table.add_row(name, f"{value:.4g}", f"{value / LARGEST:.2%}", kind)
    console = Console()
    console.print(table)
    sums = "fp16" if report.half_sums else "fp32"
    worst = max(report.drops, key=lambda name: report.drops[name]["mean"])
    console.print(
        f"sums in {sums}: {report.parity_db:.1f} dB from the fp32 student on the worst crop; "
        f"{worst} loses most, {report.drops[worst]['mean']:.3f} dB on average",
        soft_wrap=True,
    )
    share = report.largest[report.nearest] / LARGEST
    if report.overflow is not None:
        raise CplEdgeError(
            f"{report.nearest} reaches {share:.1f} times the largest number of fp16: keep it in "
            "fp32, or scale its weights down and those behind it up"
        )
    console.print(f"nearest to overflow: {report.nearest}, {share:.2%} of 65504")


def in_router(name: str) -> bool:
    """Whether a module or parameter belongs to the router."""
    return name.split(".")[0] == _ROUTER


class _Half(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Rounds what every operator gives, and notes its magnitude under the module that ran it."""

    def __init__(self, half_sums: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest: dict[str, float] = {}
        self.overflow: str | None = None
        self._half_sums = half_sums
        self._path: list[str] = []

    def follow(self, name: str, module: nn.Module) -> None:
        """Attribute to a module what runs inside it."""
        module.register_forward_pre_hook(lambda *_: self._path.append(name))
        module.register_forward_hook(lambda *_: self._path.pop() and None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the student runs."""
        with self:
            yield
        assert not self._path, "a module began and did not end"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = self._path[-1] if self._path else _OUTSIDE
        summed = _SUMS.get(func) if self._half_sums and not in_router(name) else None
        if summed is None:
            out = func(*args, **(kwargs or {}))
            peak = _peak(out)
        else:
            out, peak = summed(*args, **(kwargs or {}))
        if not isinstance(out, Tensor) or not out.is_floating_point():
            return out
        self.largest[name] = max(self.largest.get(name, 0.0), peak)
        if in_router(name):
            return out
        rounded = _to_half(out)
        if self.overflow is None and (peak > LARGEST or not bool(rounded.isfinite().all())):
            self.overflow = name
        return rounded


def _to_half(value: Tensor) -> Tensor:
    return value.half().float()


def _peak(value: Any) -> float:
    """Largest finite magnitude."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
        return 0.0
    return float(value.abs().nan_to_num(0.0, 0.0).max())


def _conv(x_BCHW: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, float]:
    stride, padding, dilation, transposed, _, groups = rest
    assert not transposed and groups == 1, "students have plain convolutions"
    kernel = weight.shape[2:]
    columns_BKP = F.unfold(x_BCHW, kernel, dilation, padding, stride)
    total, peak = _dot(weight.flatten(1), columns_BKP)
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x_BCHW.shape[2:], padding, dilation, kernel, stride, strict=True)
    ]
    out = total.reshape(*total.shape[:-1], *size)
    return (out if bias is None else out + bias[:, None, None]), peak


def _mm(a_MK: Tensor, b_KN: Tensor) -> tuple[Tensor, float]:
    return _dot(a_MK, b_KN)


def _dot(a_MK: Tensor, b_KP: Tensor) -> tuple[Tensor, float]:
    """A product whose sums are rounded to fp16 at every step, and their largest magnitude."""
    total, peak = torch.zeros(()), 0.0
    for k in range(a_MK.shape[-1]):
        exact = total + a_MK[:, k, None] * b_KP[..., k, None, :]
        peak = max(peak, _peak(exact))
        total = _to_half(exact)
    return total, peak


_SUMS: dict[Any, Callable[..., tuple[Tensor, float]]] = {
    aten.convolution.default: _conv,
    aten.mm.default: _mm,
}
