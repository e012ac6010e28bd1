"""Rewrites of a student that change no output and lose less when activations are rounded.

Both use that a ReLU passes positive factors: ``relu(c h) = c relu(h)`` for c > 0.

- :func:`equalise` scales channels so that all of a tensor have a similar range, since activations
  have one scale for all channels (Nagel et al., "Data-Free Quantization Through Weight
  Equalization and Bias Correction", ICCV 2019, section 4.1; here by measured activations as in
  SmoothQuant, Xiao et al., ICML 2023, section 4).
- :func:`one_sided` removes the negative half of the values between a block's first convolution
  and its ReLU, which that ReLU drops anyway: one bit more for the others.

Legend as in `cpl_edge.models.student`; c is a factor for each channel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cpl_edge.models.student import PinnedBlock, PromptedBlock, Student

_SMALLEST = 1e-3
"""Channels quieter than this share of the loudest are treated as if they had it."""


def equalise(student: Student, crops: Sequence[Tensor], strength: float) -> Student:
    """A student of the same function whose channels have similar ranges.

    Args:
        student: in evaluation mode, pinned or not; it is not changed.
        crops: calibration images ``x_BCHW``, RGB in [0, 1].
        strength: 0 leaves it as it is, 1 gives all channels of a tensor the same maximum; weights
            become the harder to round the more activations become easier.

    Returns:
        A copy.
    """
    student = copy.deepcopy(student)
    half, quarter = student.head.out_channels, student.down.out_channels
    maxima = _channel_maxima(student, crops)
    c_half = _factors(maxima["half"], strength)
    c_quarter = _factors(maxima["quarter"], strength)
    assert (len(c_half), len(c_quarter)) == (half, quarter)
    with torch.no_grad():
        _scale_outputs(student.head, c_half)
        _scale_outputs(student.up, c_half.repeat_interleave(4))
        _scale_outputs(student.down, c_quarter)
        for c, convs in ((c_half, (student.down, student.tail)), (c_quarter, (student.up,))):
            for conv in convs:
                _scale_inputs(conv, c)
        for name, block in _blocks(student):
            stream = c_quarter if name.startswith("middle") else c_half
            hidden = _factors(maxima[name], strength)
            expand = _expand(block)
            _scale_inputs(expand, stream)
            _scale_outputs(expand, hidden)
            if isinstance(block, PromptedBlock):
                block.shift_NC.div_(hidden)
            _scale_inputs(block.project, hidden)
            _scale_outputs(block.project, stream)
    return student


def one_sided(student: Student) -> Student:
    """A student of the same function whose blocks only round values that are not negative.

    With s = 1 + scale > 0 and t the largest shift / s of all prompts::

        relu(s h + shift) = relu(s relu(h + t) + shift - s t)

    since h + t < 0 makes s h + shift < shift - s t <= 0. It also holds for the mixtures of prompts
    whose weights sum to 1, the only ones that a router gives. t goes into the bias of the
    convolution and the inner ReLU is part of the convolution in every runtime.

    Args:
        student: in evaluation mode; it is not changed. Pinned blocks are one-sided already.

    Returns:
        A copy; channels that some prompt scales by a factor that is not positive keep both sides.
    """
    student = copy.deepcopy(student)
    with torch.no_grad():
        for _, block in _blocks(student):
            if not isinstance(block, PromptedBlock):
                continue
            expand, s_NC = _expand(block), 1 + block.scale_NC
            t_C = (block.shift_NC / s_NC).amax(0)
            if (s_NC <= 0).any():
                continue
            assert expand.bias is not None
            expand.bias.add_(t_C)
            block.shift_NC.sub_(t_C * s_NC)
            block.expand = nn.Sequential(expand, nn.ReLU())  # type: ignore[assignment]
    return student


def run_watched(
    student: Student, crops: Sequence[Tensor], handles: Sequence[RemovableHandle]
) -> None:
    """Show a student crops, and remove the hooks that watched it."""
    try:
        with torch.inference_mode():
            for x_BCHW in crops:
                student(x_BCHW)
    finally:
        for handle in handles:
            handle.remove()


def _blocks(student: Student) -> list[tuple[str, PromptedBlock | PinnedBlock]]:
    return [
        (name, module)
        for name, module in student.named_modules()
        if isinstance(module, PromptedBlock | PinnedBlock)
    ]


def _expand(block: PromptedBlock | PinnedBlock) -> nn.Conv2d:
    assert isinstance(block.expand, nn.Conv2d), "equalise before one_sided"
    return block.expand


def _scale_outputs(conv: nn.Conv2d, c: Tensor) -> None:
    conv.weight.div_(c[:, None, None, None])
    if conv.bias is not None:
        conv.bias.div_(c)


def _scale_inputs(conv: nn.Conv2d, c: Tensor) -> None:
    conv.weight.mul_(c[None, :, None, None])


def _factors(maxima_C: Tensor, strength: float) -> Tensor:
    """Factors with a geometric mean of 1."""
    logs = maxima_C.clamp(min=float(maxima_C.max()) * _SMALLEST + 1e-12).log()
    return ((logs - logs.mean()) * strength).exp()


def _channel_maxima(student: Student, crops: Sequence[Tensor]) -> dict[str, Tensor]:
    """Largest magnitude of each channel: of both streams, and of each block behind its ReLU."""
    maxima: dict[str, Tensor] = {}

    def note(name: str, y_BCHW: Tensor) -> None:
        found_C = y_BCHW.abs().amax((0, 2, 3))
        maxima[name] = torch.maximum(maxima[name], found_C) if name in maxima else found_C

    def watch(name: str, stream: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            note(stream, output)
            if name:  # the input of a block's second convolution lies behind its ReLU
                note(name, inputs[0])

        return hook

    handles = [student.head.register_forward_hook(watch("", "half"))]
    handles.append(student.down.register_forward_hook(watch("", "quarter")))
    handles.append(
        student.up.register_forward_hook(
            lambda module, inputs, output: note("half", F.pixel_shuffle(output, 2))
        )
    )
    for name, block in _blocks(student):
        stream = "quarter" if name.startswith("middle") else "half"
        handles.append(block.register_forward_hook(watch("", stream)))
        handles.append(block.project.register_forward_hook(watch(name, stream)))
    run_watched(student, crops, handles)
    return {name: value.clone() for name, value in maxima.items()}
