"""Convolutions and products of the reference evaluator against torch, on random input."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cpl_edge.runtimes.mil_convolution import conv, conv_transpose, linear, matmul


@pytest.fixture
def rand():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator)


def same(found, wanted):
    assert found.shape == tuple(wanted.shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=3e-6, rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4)])
def test_convolution(kernel, stride, dilation, groups, rand):
    x, weight, bias = rand(2, 4, 11, 13), rand(8, 4 // groups, *kernel), rand(8)
    wanted = F.conv2d(F.pad(x, (2, 0, 1, 3)), weight, bias, stride, 0, dilation, groups)
    found = conv(
        x.numpy(), weight.numpy(), bias.numpy(), np.array(stride), "custom",
        np.array([1, 3, 2, 0]), np.array(dilation), np.array(groups),
    )  # fmt: skip
    same(found, wanted)


def test_convolution_by_default_neither_pads_nor_strides(rand):
    x, weight = rand(1, 3, 7, 8), rand(5, 3, 3, 3)
    same(conv(x.numpy(), weight.numpy()), F.conv2d(x, weight))


def test_convolution_of_one_and_three_dimensions(rand):
    x, weight = rand(2, 3, 9), rand(4, 3, 3)
    pad = np.array([1, 1])
    same(
        conv(x.numpy(), weight.numpy(), pad_type="custom", pad=pad), F.conv1d(x, weight, padding=1)
    )
    x, weight = rand(1, 2, 4, 5, 6), rand(3, 2, 2, 3, 3)
    same(conv(x.numpy(), weight.numpy()), F.conv3d(x, weight))


@pytest.mark.parametrize(
    ("kernel", "dilation"), [((3, 5), (1, 1)), ((2, 4), (1, 1)), ((3, 3), (2, 1))]
)
def test_same_padding_adds_the_odd_row_at_the_end_and_lower_at_the_start(kernel, dilation, rand):
    x, weight = rand(1, 3, 8, 9), rand(4, 3, *kernel)
    given = x.numpy(), weight.numpy(), None, None
    rest = {"dilations": np.array(dilation)}
    rows, columns = ((k - 1) * d for k, d in zip(kernel, dilation, strict=True))
    less, more = (columns // 2, rows // 2), (columns - columns // 2, rows - rows // 2)
    for name, left, right in (("same", less, more), ("same_lower", more, less)):
        padded = F.pad(x, (left[0], right[0], left[1], right[1]))
        wanted = F.conv2d(padded, weight, dilation=dilation)
        assert wanted.shape[2:] == x.shape[2:]
        same(conv(*given, name, **rest), wanted)


@pytest.mark.parametrize("size", [8, 9])
def test_same_padding_with_a_stride_gives_the_rounded_up_size(size, rand):
    x, weight = rand(1, 2, size, size), rand(3, 2, 3, 3)
    found = conv(x.numpy(), weight.numpy(), None, np.array([2, 2]), "same")
    before = 0 if size == 8 else 1  # as TensorFlow does: half of what is missing, rounded down
    wanted = F.conv2d(F.pad(x, (before, 1, before, 1)), weight, stride=2)
    assert found.shape[-1] == (size + 1) // 2
    same(found, wanted)


@pytest.mark.parametrize(
    ("stride", "dilation", "groups", "padding"),
    list(itertools.product([(1, 1), (2, 3)], [(1, 1), (2, 1)], [1, 2], [(0, 0), (1, 2)])),
)
def test_transposed_convolution(stride, dilation, groups, padding, rand):
    x, weight, bias = rand(2, 4, 5, 6), rand(4, 6 // groups, 3, 5), rand(6)
    wanted = F.conv_transpose2d(x, weight, bias, stride, padding, 0, groups, dilation)
    pad = np.repeat(padding, 2)
    found = conv_transpose(
        x.numpy(), weight.numpy(), bias.numpy(), pad, None, "custom", np.array(stride),
        np.array(dilation), np.array(groups),
    )  # fmt: skip
    same(found, wanted)


def test_transposed_convolution_of_kernel_two_and_of_a_given_size(rand):
    x, weight = rand(1, 3, 4, 5), rand(3, 2, 2, 2)
    wanted = F.conv_transpose2d(x, weight, stride=2)
    twice = np.array([2, 2])
    same(conv_transpose(x.numpy(), weight.numpy(), strides=twice), wanted)
    weight = rand(3, 2, 3, 3)
    wanted = F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1)
    found = conv_transpose(
        x.numpy(), weight.numpy(), None, np.array([1, 1, 1, 1]), np.array([1, 2, 8, 10]),
        "custom", twice,
    )  # fmt: skip
    same(found, wanted)


def test_linear(rand):
    x, weight, bias = rand(2, 5, 7), rand(4, 7), rand(4)
    same(linear(x.numpy(), weight.numpy(), bias.numpy()), F.linear(x, weight, bias))
    same(linear(x[0, 0].numpy(), weight.numpy()), F.linear(x[0, 0], weight))


@pytest.mark.parametrize("turned", list(itertools.product([False, True], repeat=2)))
def test_matmul(turned, rand):
    x, y = rand(2, 1, 3, 4), rand(5, 4, 6)
    given = [
        (value.transpose(-1, -2) if turn else value).numpy()
        for value, turn in zip((x, y), turned, strict=True)
    ]
    same(matmul(*given, np.array(turned[0]), np.array(turned[1])), x @ y)


def halves(*arrays):
    return [array.half().float().numpy() for array in arrays]


def plain_sum(terms):
    """Added one after another in fp16, in plain words."""
    total = np.float16(0)
    for term in terms:
        total = np.float16(np.float32(total) + np.float32(term))
    return total


def test_sums_of_products_in_half_precision_are_rounded_at_every_step(rand):
    weight, x = halves(rand(3, 2, 2, 2), 30 * rand(1, 2, 3, 3))
    found = conv(x, weight, half_sums=True)
    patch = x[0, :, 1:3, 0:2]
    expected = plain_sum((weight[2] * patch).ravel())
    assert found[0, 2, 1, 0] == expected
    assert found[0, 2, 1, 0] != conv(x, weight)[0, 2, 1, 0]
    rows, matrix = halves(rand(2, 50), rand(4, 50))
    assert linear(rows, matrix, half_sums=True)[1, 3] == plain_sum(rows[1] * matrix[3])
    assert matmul(rows, matrix.T, half_sums=True)[1, 3] == plain_sum(rows[1] * matrix[3])


def test_transposed_convolution_in_half_precision_is_on_the_grid_of_fp16(rand):
    x, weight = halves(rand(1, 8, 4, 4), rand(8, 2, 3, 3))
    found = conv_transpose(x, weight, strides=np.array([2, 2]), half_sums=True)
    assert (found == found.astype(np.float16)).all()
    exact = conv_transpose(x, weight, strides=np.array([2, 2]))
    assert 0 < np.abs(found - exact).max() < 0.1
