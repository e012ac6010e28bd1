import math

import pytest
import torch
import torch.nn.functional as F

from cpl_edge.models.blocks import (
    GDFN,
    MDTA,
    Down,
    LayerNorm,
    OverlapPatchEmbed,
    TransformerBlock,
    Up,
)


@pytest.fixture(name="x_BCHW")
def features():
    return torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(0))


def depthwise(x_BCHW, weight_C133):
    """A depthwise 3x3 convolution, one tap after the other, with a border of zeros."""
    height, width = x_BCHW.shape[2:]
    padded = F.pad(x_BCHW, (1, 1, 1, 1))
    y_BCHW = torch.zeros_like(x_BCHW)
    for i in range(3):
        for j in range(3):
            tap_C11 = weight_C133[:, 0, i, j, None, None]
            y_BCHW += tap_C11 * padded[:, :, i : i + height, j : j + width]
    return y_BCHW


def pointwise(x_BCHW, weight_OC11):
    return torch.einsum("bchw,oc->bohw", x_BCHW, weight_OC11[:, :, 0, 0])


def test_layer_norm_is_over_the_channels_of_each_pixel(x_BCHW):
    norm = LayerNorm(8)
    with torch.no_grad():
        norm.weight.uniform_()
        norm.bias.uniform_()
        y_BCHW = norm(x_BCHW)
        for b, h, w in ((0, 0, 0), (1, 4, 2)):
            pixel_C = x_BCHW[b, :, h, w]
            scale = math.sqrt(pixel_C.var(correction=0) + 1e-5)
            want_C = (pixel_C - pixel_C.mean()) / scale * norm.weight + norm.bias
            torch.testing.assert_close(y_BCHW[b, :, h, w], want_C)


@torch.no_grad()
def test_mdta_matches_a_naive_computation(x_BCHW):
    heads, size = 2, 4  # channels of one head
    attention = MDTA(8, heads)
    attention.temperature.copy_(torch.tensor([0.7, 3.0])[:, None, None])

    pixels = depthwise(pointwise(x_BCHW, attention.qkv[0].weight), attention.qkv[1].weight)
    q, k, v = pixels.flatten(2).split(8, dim=1)
    mixed = torch.zeros(2, 8, 30)
    for b in range(2):
        for head in range(heads):
            channels = range(head * size, (head + 1) * size)
            for i in channels:
                score = torch.zeros(size)
                for n, j in enumerate(channels):
                    cosine = (q[b, i] * k[b, j]).sum() / (q[b, i].norm() * k[b, j].norm())
                    score[n] = attention.temperature[head, 0, 0] * cosine
                share = score.exp() / score.exp().sum()
                mixed[b, i] = sum(share[n] * v[b, j] for n, j in enumerate(channels))
    want = pointwise(mixed.unflatten(2, (5, 6)), attention.out.weight)
    torch.testing.assert_close(attention(x_BCHW), want)


@torch.no_grad()
def test_mdta_normalises_queries_and_keys_over_pixels(x_BCHW):
    """Scaling one channel's query or key over the whole image changes nothing."""
    attention = MDTA(8, 2)
    want = attention(x_BCHW)
    attention.qkv[1].weight[3] *= 50.0  # a query channel
    attention.qkv[1].weight[8 + 5] *= 0.02  # a key channel
    torch.testing.assert_close(attention(x_BCHW), want)
    attention.qkv[1].weight[16 + 5] *= 2.0  # a value channel
    assert not torch.allclose(attention(x_BCHW), want, atol=1e-3)


def test_mdta_refuses_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        MDTA(8, 3)


@torch.no_grad()
def test_gdfn_matches_a_naive_computation(x_BCHW):
    feedforward = GDFN(8, 2.66)
    hidden = 21  # 8 * 2.66 = 21.28, rounded down
    pixels = depthwise(
        pointwise(x_BCHW, feedforward.expand[0].weight), feedforward.expand[1].weight
    )
    a, b = pixels[:, :hidden], pixels[:, hidden:]
    assert b.shape[1] == hidden
    gelu = a * 0.5 * (1 + torch.erf(a / math.sqrt(2)))
    torch.testing.assert_close(feedforward(x_BCHW), pointwise(gelu * b, feedforward.out.weight))


@torch.no_grad()
def test_transformer_block_adds_attention_then_feedforward(x_BCHW):
    block = TransformerBlock(8, 2, 2.66)
    want = x_BCHW + block.attention(block.attention_norm(x_BCHW))
    want = want + block.feedforward(block.feedforward_norm(want))
    torch.testing.assert_close(block(x_BCHW), want)
    block.attention.out.weight.zero_()
    block.feedforward.out.weight.zero_()
    assert torch.equal(block(x_BCHW), x_BCHW)


def test_samplers_change_size_and_channels():
    assert OverlapPatchEmbed(8)(torch.rand(1, 3, 4, 6)).shape == (1, 8, 4, 6)
    assert Down(8)(torch.rand(1, 8, 4, 6)).shape == (1, 16, 2, 3)
    assert Up(8)(torch.rand(1, 8, 4, 6)).shape == (1, 4, 8, 12)


def test_no_convolution_has_a_bias():
    modules = torch.nn.ModuleList(
        [TransformerBlock(8, 2, 2.66), Down(8), Up(8), OverlapPatchEmbed(8)]
    )
    convolutions = [m for m in modules.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 9
    assert all(m.bias is None for m in convolutions)
    assert {n for n, _ in modules.named_parameters() if n.endswith("bias")} == {
        "0.attention_norm.bias",
        "0.feedforward_norm.bias",
    }
