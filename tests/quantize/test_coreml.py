"""Core ML weights: which are compressed, and palettes."""

import numpy as np
import pytest

from cpl_edge.quantize.coreml import palette, palette_bits, site
from cpl_edge.quantize.support import SUPPORT


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lowered_head_1_weight_to_fp16", "head"),
        ("lowered_head_1_weight", "head"),
        ("lowered_encoder_0_expand_weight_to_fp16", "encoder.0.expand"),
        ("lowered_decoder_12_project_weight_to_fp16", "decoder.12.project"),
        ("lowered_down_weight_to_fp16", "down"),
        ("lowered_up_0_weight_to_fp16", "up"),
        ("lowered_router_first_1_weight", None),
        ("lowered_router_second_weight", None),
        ("something_else", None),
    ],
)
def test_sites_are_told_by_the_names_of_their_weights(name, wanted):
    assert site(name) == wanted


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_a_palette_has_the_nearest_values_and_beats_even_steps(bits):
    weights = np.random.default_rng(0).normal(0, 0.1, (16, 8, 3, 3)).astype(np.float16)
    values, indices = palette(weights, bits)
    assert (values.shape, values.dtype) == ((1 << bits,), np.float16)
    assert (indices.shape, indices.dtype) == ((weights.size,), np.uint8)
    flat = weights.ravel().astype(np.float64)
    distance = np.abs(flat[:, None] - values.astype(np.float64))
    chosen = distance[np.arange(flat.size), indices]
    assert (chosen <= distance.min(1) + 1e-4).all()  # centres are rounded to fp16 afterwards
    step = (flat.max() - flat.min()) / ((1 << bits) - 1)
    even = np.round((flat - flat.min()) / step) * step + flat.min()
    assert np.square(chosen).mean() < 0.7 * np.square(even - flat).mean()


def test_few_different_weights_are_kept_exactly():
    weights = np.array([[0.5, -1], [0.5, 2]], np.float16)
    values, indices = palette(weights, 4)
    assert values[indices].tolist() == [0.5, -1, 0.5, 2]


def test_palettes_are_core_mls_alone():
    assert palette_bits("palette6") == 6
    for target, precisions in SUPPORT.items():
        assert (precisions["p6"] == "") == (target == "coreml")
