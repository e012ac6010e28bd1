"""Lowering: a student rewritten, without changing its function, in operators that targets run well.

Converters translate what they are given: a pixel shuffle becomes five-dimensional reshapes and
transposes, an indexed dimension becomes a copy outside the accelerator. So the student is first
rebuilt from modules that compute the same numbers in a better form. Each swap is tested against
the module that it replaces, and the whole against the student. Which swaps a target takes is a
:class:`Swaps` in its file, with the measurement behind it.

Shape letters as in `cpl_edge.models.student`; B is 1, since runtimes take one image at a time.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.models.student import PromptedBlock, StatisticsRouter, Student


@dataclass(frozen=True)
class Swaps:
    """What a target wants replaced.

    Attributes:
        fold_unshuffle: the convolutions behind a pixel unshuffle read the image themselves.
        one_hot_shuffle: pixel shuffles become transposed convolutions of zeros and ones, which a
            target without a pixel shuffle can know again.
        split_mean: means run over one axis at a time.
        one_hot_unshuffle: pixel unshuffles become convolutions of zeros and ones, which a target
            without a pixel unshuffle can know again; instead of ``fold_unshuffle``.
    """

    fold_unshuffle: bool = False
    one_hot_shuffle: bool = False
    split_mean: bool = False
    one_hot_unshuffle: bool = False


def fold_unshuffle(conv: nn.Conv2d) -> nn.Conv2d:
    """``conv(pixel_unshuffle(x, 2))`` as one convolution of the image itself.

    Kernel size, stride and padding double. It also keeps clear of ONNX exporters that order the
    channels of PixelUnshuffle otherwise (https://github.com/pytorch/pytorch/issues/186080).

    Args:
        conv: a square convolution of 4C channels.

    Returns:
        A convolution of C channels, equal up to the order of its sums.
    """
    out, channels = conv.weight.shape[0], conv.weight.shape[1] // 4
    k, s, p = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    weight = conv.weight.view(out, channels, 2, 2, k, k)  # sub-pixel rows and columns, then taps
    folded = nn.Conv2d(channels, out, 2 * k, 2 * s, 2 * p, bias=conv.bias is not None)
    with torch.no_grad():
        folded.weight.copy_(weight.permute(0, 1, 4, 2, 5, 3).reshape(folded.weight.shape))
        if conv.bias is not None and folded.bias is not None:
            folded.bias.copy_(conv.bias)
    return folded


def subpixels_first(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution before a pixel shuffle by 2, its output channels ordered by sub-pixel first.

    That is the order of TensorFlow's DEPTH_TO_SPACE; torch orders by channel first.
    """
    order = torch.arange(conv.out_channels).view(-1, 4).T.flatten()
    ordered = copy.deepcopy(conv)
    with torch.no_grad():
        ordered.weight.copy_(conv.weight[order])
        if conv.bias is not None and ordered.bias is not None:
            ordered.bias.copy_(conv.bias[order])
    return ordered


def one_hot_shuffle(channels: int) -> nn.ConvTranspose2d:
    """The shuffle behind :func:`subpixels_first`, as a convolution of zeros and ones."""
    shuffle = nn.ConvTranspose2d(4 * channels, channels, 2, 2, bias=False)
    with torch.no_grad():
        identity = torch.eye(4 * channels).view(4 * channels, 2, 2, channels)
        shuffle.weight.copy_(identity.permute(0, 3, 1, 2))
    return shuffle


def reads_subpixels_first(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution behind a pixel unshuffle by 2, its input channels ordered by sub-pixel first.

    That is the order of TensorFlow's SPACE_TO_DEPTH; torch orders by channel first.
    """
    order = torch.arange(conv.in_channels).view(-1, 4).T.flatten()
    ordered = copy.deepcopy(conv)
    with torch.no_grad():
        ordered.weight.copy_(conv.weight[:, order])
    return ordered


def one_hot_unshuffle(channels: int) -> nn.Conv2d:
    """The unshuffle before :func:`reads_subpixels_first`, as a convolution of zeros and ones."""
    unshuffle = nn.Conv2d(channels, 4 * channels, 2, 2, bias=False)
    with torch.no_grad():
        identity = torch.eye(4 * channels).view(4 * channels, 2, 2, channels)
        unshuffle.weight.copy_(identity.permute(0, 3, 1, 2))
    return unshuffle


class LoweredBlock(nn.Module):
    """A :class:`PromptedBlock` whose scale and shift are linear layers of the prompt weights.

    ``1 + w @ scale`` becomes the layer's bias of one, and a reshape takes the place of indexing
    with None, which ExecuTorch leaves outside its delegate.
    """

    def __init__(self, block: PromptedBlock) -> None:
        super().__init__()
        prompts, channels = block.scale_NC.shape
        self.expand, self.project = block.expand, block.project
        self.scale = nn.Linear(prompts, channels)
        self.shift = nn.Linear(prompts, channels, bias=False)
        with torch.no_grad():
            self.scale.weight.copy_(block.scale_NC.T)
            self.scale.bias.fill_(1.0)
            self.shift.weight.copy_(block.shift_NC.T)

    def forward(self, x_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        scale_BC11 = self.scale(w_BN).view(1, -1, 1, 1)
        shift_BC11 = self.shift(w_BN).view(1, -1, 1, 1)
        h_BCHW = F.relu(self.expand(x_BCHW) * scale_BC11 + shift_BC11)
        out: Tensor = x_BCHW + self.project(h_BCHW)
        return out


class LoweredRouter(nn.Module):
    """The router: ``x_BCHW`` to sparse weights ``w_BN`` and their ``logits_BL``.

    The selection is :meth:`Student.select` in operators that every delegate takes: a difference
    is never positive, so a ReLU does what its clamp does (LiteRT turns the clamp into
    RELU_0_TO_1, which XNNPACK leaves out), and no tensor is made from nothing.
    """

    def __init__(
        self, router: StatisticsRouter, degradations: int, levels: int, swaps: Swaps
    ) -> None:
        super().__init__()
        self.first = _behind_unshuffle(router.conv1, swaps)
        self.second, self.hidden, self.head = router.conv2, router.hidden, router.head
        self.degradations, self.levels = degradations, levels
        self.split_mean = swaps.split_mean

    def _mean(self, x_BCHW: Tensor) -> Tensor:
        if self.split_mean:
            return x_BCHW.mean(3, keepdim=True).mean(2, keepdim=True)
        return x_BCHW.mean((2, 3), keepdim=True)

    def logits(self, x_BCHW: Tensor) -> Tensor:
        a = self.first(x_BCHW)
        b = self.second(F.relu(a))
        maps = (a, a.abs(), b, b.abs(), b * b)
        stats_BC11 = torch.cat([self._mean(m) for m in maps], 1)
        out: Tensor = self.head(F.relu(self.hidden(stats_BC11.view(1, -1))))
        return out

    def select(self, logits_BL: Tensor) -> Tensor:
        d, m = self.degradations, self.levels
        scores = [logits_BL[:, i : i + 1] for i in range(d)]
        largest = scores[0]
        for score in scores[1:]:
            largest = torch.maximum(largest, score)
        parts: list[Tensor] = []
        free: Tensor | None = None  # 1 until a degradation has been selected: breaks ties
        for i, score in enumerate(scores):
            is_top = F.relu((score - largest) * 1e6 + 1.0)
            if free is not None:
                is_top = is_top * free
            free = is_top * -1.0 + 1.0 if free is None else free - is_top
            levels_BM = torch.softmax(logits_BL[:, d + i * m : d + (i + 1) * m], -1)
            parts.append(levels_BM * is_top)
        return torch.cat(parts, -1)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        logits_BL = self.logits(x_BCHW)
        return self.select(logits_BL), logits_BL


class LoweredStudent(nn.Module):
    """A student in a target's operators; the same function as the student it was made from.

    Args:
        student: in evaluation mode, pinned or not.
        swaps: what to replace.
    """

    def __init__(self, student: Student, swaps: Swaps) -> None:
        super().__init__()
        student = copy.deepcopy(student)
        config = student.config
        self.router = LoweredRouter(student.router, len(config.degradations), config.levels, swaps)
        self.head = _behind_unshuffle(student.head, swaps)
        self.encoder = _lowered_blocks(student.encoder)
        self.down = student.down
        self.middle = _lowered_blocks(student.middle)
        self.up = _with_shuffle(student.up, swaps)
        self.decoder = _lowered_blocks(student.decoder)
        self.tail = _with_shuffle(student.tail, swaps)
        self.eval().requires_grad_(False)

    def restore(self, x_BCHW: Tensor, w_BN: Tensor) -> Tensor:
        y = self.head(x_BCHW)
        for block in self.encoder:
            y = block(y, w_BN)
        skip = y
        y = self.down(y)
        for block in self.middle:
            y = block(y, w_BN)
        y = self.up(y) + skip
        for block in self.decoder:
            y = block(y, w_BN)
        restored: Tensor = x_BCHW + self.tail(y)
        return restored


def _behind_unshuffle(conv: nn.Conv2d, swaps: Swaps) -> nn.Module:
    if swaps.one_hot_unshuffle:
        return nn.Sequential(one_hot_unshuffle(conv.in_channels // 4), reads_subpixels_first(conv))
    return (
        fold_unshuffle(conv) if swaps.fold_unshuffle else nn.Sequential(nn.PixelUnshuffle(2), conv)
    )


def _with_shuffle(conv: nn.Conv2d, swaps: Swaps) -> nn.Sequential:
    if swaps.one_hot_shuffle:
        return nn.Sequential(subpixels_first(conv), one_hot_shuffle(conv.out_channels // 4))
    return nn.Sequential(conv, nn.PixelShuffle(2))


def _lowered_blocks(blocks: nn.ModuleList) -> nn.ModuleList:
    """Prompted blocks lowered; pinned ones are plain convolutions already."""
    return nn.ModuleList(
        LoweredBlock(block) if isinstance(block, PromptedBlock) else block for block in blocks
    )
