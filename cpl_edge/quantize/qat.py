"""A student that rounds as a target will, with weights and ranges that can be trained.

The weights are the student's own: it holds no operator that a target would fold away, and what
else folds (:mod:`cpl_edge.quantize.folding`, :mod:`cpl_edge.quantize.balance`) is folded before.
The ends of every range move as shares of themselves, so that one learning rate fits ranges of any
size and an end never crosses zero. Ranges of what prompts multiply and add always hold all prompts,
as they are now. The router is frozen: it runs in float.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cpl_edge.models.student import PromptedBlock, Student, StudentConfig
from cpl_edge.quantize.ranges import Ranges
from cpl_edge.quantize.rounding import Bound
from cpl_edge.quantize.simulation import Simulation

_PROMPT_ENDS = (":scale", ":shift")
_FARTHEST = 3.0  # times e: an end beyond 1/20 or 20 of where it was is one that diverges


class RoundingStudent(nn.Module):
    """A student in its simulation.

    Args:
        student: to round; copied, without gradients for its router.
        exact: sites that stay in float.
        bits: of activations.
        pace: how much faster than weights the ends of ranges move; 0 holds them.
    """

    bounds_P2: Tensor

    def __init__(
        self, student: Student, exact: frozenset[str], bits: int = 8, pace: float = 10.0
    ) -> None:
        super().__init__()
        self.student = copy.deepcopy(student).requires_grad_(True)
        self.student.router.requires_grad_(False)
        self.exact, self.bits, self.pace = exact, bits, pace
        self.points = Simulation(student).points
        self.register_buffer("bounds_P2", torch.zeros(len(self.points), 2))
        self.moves_P2 = nn.Parameter(torch.zeros(len(self.points), 2), requires_grad=pace > 0)

    @property
    def config(self) -> StudentConfig:
        """Of the student."""
        return self.student.config

    def set(self, student: Student, ranges: Ranges) -> None:
        """Start from these weights and ranges."""
        self.student.load_state_dict(student.state_dict())
        with torch.no_grad():
            self.bounds_P2.copy_(torch.tensor([ranges[point] for point in self.points]))
            self.moves_P2.zero_()

    @torch.no_grad()
    def ranges(self) -> Ranges:
        """Ranges as they are now."""
        return {p: (float(low), float(high)) for p, (low, high) in self._bounds().items()}

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """Of the frozen router."""
        return self.student.logits(x_BCHW)

    def route(self, x_BCHW: Tensor) -> Tensor:
        """Of the frozen router."""
        return self.student.route(x_BCHW)

    def restore(self, x_BCHW: Tensor, w_BSN: Tensor) -> Tensor:
        """As :meth:`Student.restore`, rounded."""
        simulation = Simulation(self.student, self.bits, self.exact, self._bounds())
        return simulation.restore(x_BCHW, w_BSN)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.restore(x_BCHW, self.route(x_BCHW))

    def _bounds(self) -> dict[str, tuple[Bound, Bound]]:
        moved_P2 = (self.pace * self.moves_P2).clamp(-_FARTHEST, _FARTHEST)
        bounds_P2 = self.bounds_P2 * torch.exp(moved_P2)
        bounds = {p: (b[0], b[1]) for p, b in zip(self.points, bounds_P2, strict=True)}
        bounds["input"] = (self.bounds_P2[0, 0], self.bounds_P2[0, 1])
        for name, block in self.student.named_modules():
            if isinstance(block, PromptedBlock):
                held = (1 + block.scale_NC.detach(), block.shift_NC.detach())
                for end, values in zip(_PROMPT_ENDS, held, strict=True):
                    bounds[f"{name}.prompt{end}"] = (
                        values.min().clamp(max=0),
                        values.max().clamp(min=0),
                    )
        return dict(bounds)
