"""Every operator of the reference evaluator against torch, on random input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cpl_edge.runtimes.mil_operators import OPERATORS

TESTED = set()


def check(name, expected, *, atol=2e-6, **parameters):
    """Run an operator as a program would: arrays, 0-d arrays for numbers, words."""
    TESTED.add(name)
    given = {
        key: np.array(value, np.float32 if isinstance(value, float) else None)
        if isinstance(value, (bool, int, float, list))
        and not (isinstance(value, list) and isinstance(value[0], np.ndarray))
        else value.numpy()
        if isinstance(value, torch.Tensor)
        else value
        for key, value in parameters.items()
    }
    found = OPERATORS[name](**given)
    for one, wanted in zip(
        found if isinstance(found, list) else [found],
        expected if isinstance(expected, (list, tuple)) else [expected],
        strict=True,
    ):
        assert one.shape == tuple(wanted.shape)
        assert one.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(one, wanted.numpy(), atol=atol, rtol=1e-5)


@pytest.fixture
def rand():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator)


UNARY = {
    "abs": torch.abs, "exp": torch.exp, "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid,
    "silu": F.silu, "square": torch.square, "tanh": torch.tanh, "identity": lambda x: x,
}  # fmt: skip
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "real_div": torch.div,
    "maximum": torch.maximum, "minimum": torch.minimum, "greater": torch.gt, "less": torch.lt,
    "greater_equal": torch.ge, "less_equal": torch.le,
}  # fmt: skip
BROADCAST = [
    ((2, 3, 4, 5), (2, 3, 4, 5)), ((1, 3, 4, 4), (1, 3, 1, 1)), ((3, 1, 5), (4, 1)), ((2, 3), ()),
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_of_one_input(name, rand):
    x = 4 * rand(2, 3, 5, 4)
    check(name, UNARY[name](x), x=x)


@pytest.mark.parametrize("shapes", BROADCAST)
@pytest.mark.parametrize("name", BINARY)
def test_of_two_inputs_with_broadcasting(name, shapes, rand):
    x, y = rand(*shapes[0]), rand(*shapes[1])
    check(name, BINARY[name](x, y), x=x, y=y)
    check(name, BINARY[name](y, x), x=y, y=x)


def test_equal_values_compare(rand):
    x = torch.tensor([0.0, 1.0, 1.0])
    y = torch.tensor([1.0, 1.0, 0.0])
    for name in ("greater", "greater_equal", "less", "less_equal"):
        check(name, BINARY[name](x, y), x=x, y=y)


def test_roots_and_powers(rand):
    x = rand(3, 4).abs() + 0.01
    check("sqrt", x.sqrt(), x=x)
    check("rsqrt", (x + 0.125).rsqrt(), x=x, epsilon=0.125)
    check("rsqrt", x.rsqrt(), x=x)
    check("pow", x**1.7, x=x, y=1.7)


@pytest.mark.parametrize(("dtype", "wanted"), [
    ("fp32", torch.float32), ("fp16", torch.float32), ("int32", torch.int32), ("bool", torch.bool),
    ("int8", torch.int8), ("uint8", torch.uint8),
])  # fmt: skip
def test_cast_goes_towards_zero_and_leaves_fp16_to_the_caller(dtype, wanted):
    x = torch.tensor([-1.0, 0.0, 0.4, 1.5, 2.0]) if dtype != "uint8" else torch.tensor([0.4, 2.9])
    check("cast", x.to(wanted), x=x, dtype=dtype)
    check("cast", torch.tensor([-1.0, 3.0]), x=torch.tensor([-1, 3]), dtype="fp32")


def test_activations_with_parameters(rand):
    x = 3 * rand(2, 6, 4, 3)
    check("clip", x.clamp(-0.5, 1.25), x=x, alpha=-0.5, beta=1.25)
    check("leaky_relu", F.leaky_relu(x, 0.1), x=x, alpha=0.1)
    slopes = rand(6)
    check("prelu", F.prelu(x, slopes), x=x, alpha=slopes)
    check("gelu", F.gelu(x), x=x, mode="EXACT")
    check("gelu", F.gelu(x, approximate="tanh"), x=x, mode="TANH_APPROXIMATION")


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
def test_softmax_along_an_axis_with_large_values(axis, rand):
    x = 200 * rand(3, 4, 5)
    check("softmax", x.softmax(axis), x=x, axis=axis)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [[2, 3], [-1], [1, -1], [0, 1, 2, 3]])
def test_reductions(axes, keep, rand):
    x = rand(2, 3, 4, 5)
    for name, wanted in (
        ("reduce_sum", x.sum(axes, keep)),
        ("reduce_mean", x.mean(axes, keep)),
        ("reduce_max", x.amax(axes, keep)),
        ("reduce_min", x.amin(axes, keep)),
    ):
        check(name, wanted, x=x, axes=axes, keep_dims=keep)


def test_reductions_take_all_axes_by_default(rand):
    x = rand(2, 3)
    check("reduce_mean", x.mean(), x=x)
    check("reduce_max", x.max(), x=x)


def test_layer_norm(rand):
    x, gamma, beta = rand(2, 5, 6), rand(6), rand(6)
    wanted = F.layer_norm(x, (6,), gamma, beta, 1e-3)
    check("layer_norm", wanted, x=x, axes=[-1], gamma=gamma, beta=beta, epsilon=1e-3)
    check("layer_norm", F.layer_norm(x, (5, 6)), x=x, axes=[1, 2])


def test_reshape_and_its_kin(rand):
    x = rand(2, 3, 4)
    check("reshape", x.reshape(4, 6), x=x, shape=[4, 6])
    check("reshape", x.reshape(2, 12), x=x, shape=[0, -1])
    check("transpose", x.permute(2, 0, 1), x=x, perm=[2, 0, 1])
    check("transpose", x.permute(0, 2, 1), x=x, perm=[0, -1, 1])
    check("expand_dims", x[:, None, :, :, None], x=x, axes=[1, -1])
    check("squeeze", rand(2, 1, 3, 1)[:, 0, :, 0] * 0, x=0 * rand(2, 1, 3, 1), axes=[1, -1])
    check("squeeze", x[0], x=x[:1])


def test_pixel_shuffles_order_channels_as_torch_does(rand):
    for factor in (2, 3):
        x = rand(2, 3 * factor**2, 4, 5)
        check("pixel_shuffle", F.pixel_shuffle(x, factor), x=x, upscale_factor=factor)
        x = rand(2, 3, 4 * factor, 5 * factor)
        check("pixel_unshuffle", F.pixel_unshuffle(x, factor), x=x, downscale_factor=factor)


def test_upsampling(rand):
    x = rand(1, 2, 3, 4)
    wanted = F.interpolate(x, scale_factor=(2, 3), mode="nearest")
    check("upsample_nearest_neighbor", wanted, x=x, scale_factor_height=2.0, scale_factor_width=3.0)


def test_joining_and_splitting(rand):
    parts = [rand(2, 3, 4), rand(2, 2, 4), rand(2, 1, 4)]
    arrays = [part.numpy() for part in parts]
    check("concat", torch.cat(parts, 1), values=arrays, axis=1, interleave=False)
    check("concat", torch.cat(parts, -2), values=arrays, axis=-2)
    equal = [rand(2, 3), rand(2, 3)]
    turns = torch.stack(equal, 2).reshape(2, 6)
    check("concat", turns, values=[e.numpy() for e in equal], axis=1, interleave=True)
    x = rand(2, 6, 3)
    check("split", x.split(2, 1), x=x, num_splits=3, axis=1)
    check("split", x.split([1, 3, 2], 1), x=x, split_sizes=[1, 3, 2], axis=1)


def test_slices(rand):
    x = rand(4, 6, 5)
    check("slice_by_index", x[1:3, 0:6, 2:3], x=x, begin=[1, 0, 2], end=[3, 6, 3])
    check(
        "slice_by_index", x[:2, 1::2, -2:], x=x, begin=[3, 1, -2], end=[2, 0, 0],
        stride=[1, 2, 1], begin_mask=[True, False, False], end_mask=[False, True, True],
    )  # fmt: skip
    check(
        "slice_by_index", x[2, :, -1], x=x, begin=[2, 0, -1], end=[0, 6, 0],
        squeeze_mask=[True, False, True],
    )  # fmt: skip
    check("slice_by_size", x[1:3, :, 2:], x=x, begin=[1, 0, 2], size=[2, 6, -1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_padding(mode, rand):
    x = rand(2, 3, 5, 6)
    value = {"value": 0.5} if mode == "constant" else {}
    wanted = F.pad(x, (1, 2, 3, 0), mode, **value)
    check("pad", wanted, x=x, pad=[3, 0, 1, 2], mode=mode, constant_val=0.5)
    if mode == "constant":
        whole = [0, 0, 0, 0, 3, 0, 1, 2]
        check("pad", F.pad(x, (1, 2, 3, 0)), x=x, pad=whole, mode=mode, constant_val=0.0)


def test_select(rand):
    a, b = rand(3, 4), rand(3, 4)
    check("select", torch.where(a > b, a, b), cond=a > b, a=a, b=b)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantising_saturates_and_comes_back(dtype, rand):
    x = 4 * rand(2, 3, 4, 5)
    scale, zero, (low, high) = 0.03125, *((3, (-128, 127)) if dtype == "int8" else (9, (0, 255)))
    wanted = torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)
    assert wanted.max() < x.max()  # some do saturate
    steps = (wanted / scale + zero).round().to(getattr(torch, dtype))
    check("quantize", steps, input=x, scale=scale, output_dtype=dtype, zero_point=zero)
    check("dequantize", wanted, input=steps, scale=scale, zero_point=zero)


def test_quantising_each_channel(rand):
    x, scales = rand(2, 3, 4), torch.tensor([0.01, 0.02, 0.03])
    zeros = torch.zeros(3, dtype=torch.int32)
    wanted = torch.fake_quantize_per_channel_affine(x, scales, zeros, 1, -128, 127)
    steps = (wanted / scales[:, None]).round().to(torch.int8)
    check("quantize", steps, input=x, scale=scales, output_dtype="int8", axis=1)
    check("dequantize", wanted, input=steps, scale=scales, axis=1)


def test_every_operator_has_been_tested_here_or_beside():
    """Runs last; convolutions and products have a file of their own."""
    beside = {"conv", "conv_transpose", "linear", "matmul"}
    if TESTED:
        assert set(OPERATORS) - TESTED == beside
