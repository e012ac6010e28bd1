"""Every swap equals the module that it replaces, and the whole equals the student."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cpl_edge.export.lowering import (
    LoweredBlock,
    LoweredRouter,
    LoweredStudent,
    Swaps,
    fold_unshuffle,
    one_hot_shuffle,
    one_hot_unshuffle,
    reads_subpixels_first,
    subpixels_first,
)
from cpl_edge.models.student import PromptedBlock


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("stride", "padding"), list(product((1, 2), (0, 1))))
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_reads_the_image_instead_of_its_unshuffled_pixels(stride, padding, bias):
    conv = nn.Conv2d(12, 5, 3, stride, padding, bias=bias)
    x_BCHW = torch.randn(2, 3, 20, 28)
    expected = conv(F.pixel_unshuffle(x_BCHW, 2))
    torch.testing.assert_close(fold_unshuffle(conv)(x_BCHW), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_zeros_and_ones_shuffle_what_a_convolution_made(channels, size, bias):
    conv = nn.Conv2d(6, 4 * channels, size, padding=size // 2, bias=bias)
    x_BCHW = torch.randn(2, 6, 5, 7)
    expected = F.pixel_shuffle(conv(x_BCHW), 2)
    found = one_hot_shuffle(channels)(subpixels_first(conv)(x_BCHW))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_channels_are_in_the_order_of_depth_to_space():
    """TensorFlow: the channels of the upper left pixel come first, then of the one beside it."""
    x_BCHW = torch.arange(12.0).view(1, 12, 1, 1)
    expected = torch.tensor([[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]])
    assert torch.equal(one_hot_shuffle(3)(x_BCHW)[0], expected.float())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_zeros_and_ones_unshuffle_what_a_convolution_reads(channels, stride):
    conv = nn.Conv2d(4 * channels, 5, 3, stride)
    x_BCHW = torch.randn(2, channels, 20, 28)
    expected = conv(F.pixel_unshuffle(x_BCHW, 2))
    found = reads_subpixels_first(conv)(one_hot_unshuffle(channels)(x_BCHW))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_unshuffled_channels_are_in_the_order_of_space_to_depth():
    """TensorFlow: the channels of the upper left pixel come first, then of the one beside it."""
    x_BCHW = torch.tensor([[[0.0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]])[None]
    assert torch.equal(one_hot_unshuffle(3)(x_BCHW).flatten(), torch.arange(12.0))


def test_ordering_channels_leaves_the_convolution_alone():
    conv = nn.Conv2d(6, 12, 3)
    before = {name: value.clone() for name, value in conv.state_dict().items()}
    ordered = subpixels_first(conv)
    assert not torch.equal(ordered.weight, conv.weight)
    for parameter in ordered.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in conv.state_dict().items())


def test_a_block_takes_its_prompt_through_linear_layers():
    block = PromptedBlock(8, 15)
    for parameter in block.parameters():
        parameter.normal_(0, 0.3)
    x_BCHW, w_BN = torch.randn(1, 8, 6, 6), torch.rand(1, 15)
    expected = block(x_BCHW, w_BN)
    torch.testing.assert_close(LoweredBlock(block)(x_BCHW, w_BN), expected, atol=1e-5, rtol=0)


TIES = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 2.0, 2.0, 0.0, 2.0],
        [3.0, 2.0, 3.0, 3.0, 1.0],
        [-4.0, -5.0, -9.0, -5.0, -4.0],
        [7.0, 1e-3, 1e4, 1e4, -1e4],
    ]
)


def test_selection_is_the_students_even_where_logits_tie(student):
    router = LoweredRouter(student.router, 5, 3, Swaps())
    levels = torch.randn(len(TIES), 15)
    for logits_BL in torch.cat([TIES, levels], 1).split(1):
        expected = student.select(logits_BL[:, None])[:, 0]
        torch.testing.assert_close(router.select(logits_BL), expected, atol=1e-7, rtol=0)
        assert (router.select(logits_BL) > 0).sum() == 3  # the levels of the first of the largest


@pytest.mark.parametrize("choice", list(product((False, True), repeat=4)))
@pytest.mark.parametrize("size", [(64, 72), (100, 60)])
def test_a_lowered_student_is_the_student(student, choice, size):
    lowered = LoweredStudent(student, Swaps(*choice))
    x_BCHW = torch.rand(1, 3, *size)
    w_BN, logits_BL = lowered.router(x_BCHW)
    expected_w = student.route(x_BCHW)
    torch.testing.assert_close(logits_BL, student.logits(x_BCHW)[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(w_BN, expected_w[:, 0], atol=1e-5, rtol=0)
    restored = lowered.restore(x_BCHW, expected_w[:, 0])
    torch.testing.assert_close(restored, student(x_BCHW), atol=1e-5, rtol=0)
    assert (restored - x_BCHW).abs().max() > 0.1  # else it would show nothing


def test_a_pinned_student_is_lowered_too(student):
    w_N = torch.softmax(torch.randn(15), 0)
    lowered = LoweredStudent(student.pin(w_N), Swaps(True, True, True, True))
    x_BCHW = torch.rand(1, 3, 64, 64)
    expected = student.restore(x_BCHW, w_N[None, None])
    restored = lowered.restore(x_BCHW, torch.zeros(1, 0))
    torch.testing.assert_close(restored, expected, atol=1e-5, rtol=0)


def test_lowering_leaves_the_student_alone(student):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    lowered = LoweredStudent(student, Swaps(True, True, True, True))
    for parameter in lowered.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
