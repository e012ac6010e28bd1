"""Peers are what their papers say: parameters as published, and images in, images out."""

import pytest
import torch

from cpl_edge.models.peers import PEERS, NAFNet, Restormer, TopPrompt, create_peer
from cpl_edge.models.promptir import create_promptir
from cpl_edge.models.swinir import SwinIR, cut, join


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("restormer", 26_126_644),  # as its authors print it
        ("nafnet32", 29_159_715),  # 29.16 M, SIDD, width 32
        ("dncnn", 668_227),  # CDnCNN-B, batch norms folded
        ("ffdnet", 852_108),  # colour
        ("cpl", 35_376_967),
        ("promptir", 35_376_967),  # without the authors' unused convolutions
        ("swinir", 905_283),  # the lightweight x2 model (910,152) with an image head
    ],
)
def test_parameters_are_the_published_ones(name, count):
    with torch.device("meta"):
        assert parameters(PEERS[name].create()) == count


@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
def test_images_come_out_as_images_and_the_same_every_time(name):
    x_BCHW = torch.rand(1, 3, 16, 32)
    with torch.inference_mode():
        y_BCHW = create_peer(name)(x_BCHW)
        assert y_BCHW.shape == x_BCHW.shape and y_BCHW.isfinite().all()
        torch.testing.assert_close(create_peer(name)(x_BCHW), y_BCHW, rtol=0, atol=0)
        assert not torch.equal(create_peer(name, seed=1)(x_BCHW), y_BCHW)


def test_small_ones_of_the_large_families_run():
    x_BCHW = torch.rand(1, 3, 16, 32)
    with torch.inference_mode():
        for network in (
            Restormer(8, (1, 1, 1, 1), 1, (1, 2, 4, 8)),
            NAFNet(4, (1, 1), 1, (1, 1)),
        ):
            y_BCHW = network.eval()(x_BCHW)
            assert y_BCHW.shape == x_BCHW.shape
            assert 0 < (y_BCHW - x_BCHW).abs().max() < 10


def test_windows_are_cut_and_joined_and_shifted_ones_do_not_look_across_the_image():
    x_BHWC = torch.rand(2, 8, 12, 3)
    windows_VTC = cut(x_BHWC, 4)
    torch.testing.assert_close(windows_VTC[1].reshape(4, 4, 3), x_BHWC[0, :4, 4:8])
    torch.testing.assert_close(join(windows_VTC, x_BHWC.shape, 4), x_BHWC, rtol=0, atol=0)
    network = SwinIR(8, (2,), 2, 4).eval()
    x_BCHW = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        before_BCHW = network(x_BCHW)
        x_BCHW[..., -2:] += 0.5  # the right end
        after_BCHW = network(x_BCHW)
    changed_W = (before_BCHW != after_BCHW).any(0).any(0).any(0)
    assert changed_W[-8:].any() and not changed_W[:2].any()


def test_every_block_of_nafnet_counts():
    """Its scales are random and not zero, so no runtime may leave a block out."""
    network = NAFNet(4, (1,), 1, (1,)).eval()
    x_BCHW = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        before = network(x_BCHW)
        network.middle[0].beta.zero_()
        assert not torch.allclose(network(x_BCHW), before, atol=1e-7)


def test_the_exported_selection_is_that_of_the_teacher():
    site = create_promptir("cpl-tiny", prompts=7, top_k=2).site2
    p_BN = torch.rand(50, 7).softmax(1)
    expected = site.select(p_BN)
    site.__class__ = TopPrompt
    torch.testing.assert_close(site.select(p_BN), expected, rtol=0, atol=0)
