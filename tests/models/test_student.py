import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.models.student import PromptedBlock, Student, StudentConfig
from cpl_edge.models.zoo import STUDENTS

CONFIG = StudentConfig(widths=(6, 10), router_widths=(5, 7), router_hidden=9)
D, M, N = len(CONFIG.degradations), CONFIG.levels, CONFIG.prompts


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def mixed_weights(count=2, seed=2):
    return torch.rand(count, 1, N, generator=rng(seed)).softmax(-1)


def naive_select(logits):
    """What select means, by argmax and indexing: logits (D + D * M,) to weights (D * M,)."""
    chosen = int(np.argmax(logits[:D]))  # the first of equals
    levels = logits[D + chosen * M : D + (chosen + 1) * M].astype(np.float64)
    exponent = np.exp(levels - levels.max())
    w = np.zeros(N)
    w[chosen * M : (chosen + 1) * M] = exponent / exponent.sum()
    return w


quarters = st.integers(-24, 24).map(lambda n: n / 4)  # few values, so that ties are common


@given(st.lists(quarters, min_size=D + N, max_size=D + N))
def test_select_is_the_softmax_of_the_first_largest_degradations_levels(values):
    logits = torch.tensor(values)
    w = Student(CONFIG).select(logits[None, None])[0, 0].numpy()
    expected = naive_select(logits.numpy())
    np.testing.assert_allclose(w, expected, atol=1e-6)
    assert ((w > 0) == (expected > 0)).all()  # the rest is exactly 0, not just small
    assert w.sum() == pytest.approx(1, abs=1e-6)


def test_select_of_equals_takes_the_first(student):
    for tied in ((0, 1, 2, 3, 4), (1, 3), (2, 4)):
        logits = torch.full((1, 1, D + N), -1.0)
        logits[..., list(tied)] = 2.0
        assert student.select(logits)[0, 0].nonzero().flatten().tolist() == [
            tied[0] * M + level for level in range(M)
        ]


def test_select_has_exactly_m_weights_of_each_image_and_site(student):
    logits = torch.randn(4, 3, D + N, generator=rng()) * 5
    w_BSN = student.select(logits)
    assert w_BSN.shape == (4, 3, N)
    assert ((w_BSN != 0).sum(-1) == M).all()
    torch.testing.assert_close(w_BSN.sum(-1), torch.ones(4, 3))


@given(st.floats(0, 2e-6), st.integers(0, D - 1), st.integers(0, D - 1))
def test_near_ties_stay_a_mixture(gap, first, second):
    logits = torch.zeros(1, 1, D + N)
    logits[..., :D] = -3.0
    logits[..., first] = gap
    logits[..., second] = 0.0
    w_N = Student(CONFIG).select(logits)[0, 0]
    assert (w_N >= 0).all()
    assert float(w_N.sum()) == pytest.approx(1, abs=1e-6)


def test_forced_weights_of_the_routers_own_choice_are_those_of_select(student):
    logits = torch.randn(16, 1, D + N, generator=rng(3))
    label_B = logits[:, 0, :D].argmax(-1)
    assert set(label_B.tolist()) == set(range(D)), "every degradation should be among them"
    torch.testing.assert_close(student.forced(logits, label_B), student.select(logits))


def test_forced_weights_follow_the_label_against_the_router(student):
    logits = torch.randn(D, 1, D + N, generator=rng(4))
    w_BSN = student.forced(logits, torch.arange(D))
    for label in range(D):
        swapped = logits[label].clone()
        swapped[0, label] = 100.0
        torch.testing.assert_close(w_BSN[label], student.select(swapped[None])[0])


def test_shapes(student, x_BCHW):
    assert student.logits(x_BCHW).shape == (2, 1, D + N)
    assert student.route(x_BCHW).shape == (2, 1, N)
    assert student(x_BCHW).shape == x_BCHW.shape


def test_forward_is_restore_with_the_routed_weights(student, x_BCHW):
    w_BSN = student.route(x_BCHW)
    assert torch.equal(w_BSN, student.select(student.logits(x_BCHW)))
    assert torch.equal(student(x_BCHW), student.restore(x_BCHW, w_BSN))


def test_each_prompt_restores_differently(student, x_BCHW):
    outputs = [student.restore(x_BCHW[:1], w_N[None, None]) for w_N in torch.eye(N)]
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert (one - other).abs().max() > 1e-3


def test_images_of_a_batch_do_not_touch_each_other(student, x_BCHW):
    together = student(x_BCHW)
    torch.testing.assert_close(together[:1], student(x_BCHW[:1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1:], student(x_BCHW[1:]), atol=1e-5, rtol=0)


def test_a_fresh_students_blocks_are_the_identity():
    block = PromptedBlock(4, N)
    x_BCHW = torch.randn(2, 4, 6, 6, generator=rng())
    assert torch.equal(block(x_BCHW, mixed_weights()[:, 0]), x_BCHW)


def test_a_block_is_the_sum_that_its_docstring_states(student, x_BCHW):
    block = student.middle[0]
    h_BCHW = torch.rand(2, 10, 5, 4, generator=rng())
    w_BN = mixed_weights()[:, 0]
    for b in range(2):
        scale = 1 + sum(w_BN[b, n] * block.scale_NC[n] for n in range(N))
        shift = sum(w_BN[b, n] * block.shift_NC[n] for n in range(N))
        inner = block.expand(h_BCHW[b]) * scale[:, None, None] + shift[:, None, None]
        expected = h_BCHW[b] + block.project(inner.clamp(min=0))
        torch.testing.assert_close(block(h_BCHW, w_BN)[b], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_pinning_folds_the_prompt_within_the_limit(seed, x_BCHW, trained_like):
    student = trained_like(seed=seed)
    routed = student.route(x_BCHW[:1])[0, 0]
    for w_N in (routed, mixed_weights(1, seed)[0, 0], torch.zeros(N)):
        pinned = student.pin(w_N.tolist())
        expected = student.restore(x_BCHW, w_N.expand(2, 1, N))
        for ignored in (torch.zeros(2, 1, N), mixed_weights()):
            got = pinned.restore(x_BCHW, ignored)
            assert (got - expected).abs().max() <= 1e-4
        assert (pinned(x_BCHW) - expected).abs().max() <= 1e-4
        assert not pinned.training


def test_pinning_leaves_the_student_alone(student):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    pinned = student.pin(mixed_weights(1)[0, 0])
    with torch.no_grad():
        for parameter in pinned.parameters():
            parameter.zero_()
    after = student.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_pinning_takes_one_weight_per_prompt(student):
    with pytest.raises(ValueError, match="15 weights"):
        student.pin([1.0, 0.0])


@pytest.mark.parametrize("degradation", range(D))
def test_a_told_student_restores_as_if_forced(student, x_BCHW, degradation):
    told = student.told(degradation)
    logits_BSL = student.logits(x_BCHW)
    w_BSN = student.forced(logits_BSL, torch.full((2,), degradation))
    torch.testing.assert_close(told.route(x_BCHW), w_BSN)
    torch.testing.assert_close(told(x_BCHW), student.restore(x_BCHW, w_BSN))
    other = told.forced(told.logits(x_BCHW), torch.full((2,), (degradation + 1) % D))
    torch.testing.assert_close(told.restore(x_BCHW, other), told(x_BCHW))  # nothing else is left
    assert not told.training


def test_telling_leaves_the_student_alone_and_takes_what_it_knows(student):
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with torch.no_grad():
        for parameter in student.told(1).parameters():
            parameter.zero_()
    after = student.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for wrong in (-1, D):
        with pytest.raises(ValueError, match=f"cannot be told degradation {wrong}"):
            student.told(wrong)
    sparse = Student(StudentConfig(widths=(4, 6), blocks=(0, 0, 0), prompt="sparse", levels=1))
    with pytest.raises(ValueError, match="cannot be told"):
        sparse.told(0)


def test_a_told_student_tells_its_matrices_as_well(x_BCHW, trained_like):
    config = StudentConfig(widths=(6, 10), router_widths=(5, 7), router_hidden=9, rank=2)
    student = trained_like(config)
    w_BSN = student.forced(student.logits(x_BCHW), torch.full((2,), 3))
    torch.testing.assert_close(student.told(3)(x_BCHW), student.restore(x_BCHW, w_BSN))


def reach(config, pixel):
    """Pixels left/above and right/below that an output pixel depends on: the true field."""
    student = Student(config).double()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.fill_(0.05)  # all positive, so that no path is cut and nothing cancels
    side = 2 * student.halo + 16
    centre = side // 2 // student.multiple * student.multiple + pixel
    x_BCHW = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    w_BSN = torch.full((1, 1, config.prompts), 1 / config.prompts, dtype=torch.float64)
    student.restore(x_BCHW, w_BSN)[0, :, centre, centre].sum().backward()
    seen = x_BCHW.grad.abs().sum((0, 1)).nonzero()
    return int((centre - seen.min(0).values).max()), int((seen.max(0).values - centre).max())


@pytest.mark.parametrize(
    "blocks",
    sorted({config.blocks for config in STUDENTS.values()} | {(0, 0, 0), (1, 0, 0), (0, 1, 2)}),
)
@pytest.mark.parametrize("down", [2, 3])
def test_the_halo_is_what_a_tile_needs_and_no_more(blocks, down):
    config = StudentConfig(widths=(2, 3), blocks=blocks, levels=1, down=down)
    student = Student(config)
    needed = 0  # by the cell of 4x4 pixels that a tile's core begins or ends with
    for pixel in range(student.multiple):
        before, after = reach(config, pixel)
        needed = max(needed, before - pixel, after - (student.multiple - 1 - pixel))
    assert needed <= student.halo < needed + student.multiple
    assert student.halo % student.multiple == 0


def test_a_tile_with_its_halo_equals_the_whole(student):
    halo, tile = student.halo, 16
    x_BCHW = torch.rand(1, 3, tile + 2 * halo + 40, tile + 2 * halo + 24, generator=rng(5))
    w_BSN = mixed_weights(1)
    whole = student.restore(x_BCHW, w_BSN)
    part = student.restore(x_BCHW[..., 20 : 20 + tile + 2 * halo, 12 : 12 + tile + 2 * halo], w_BSN)
    inner = part[..., halo : halo + tile, halo : halo + tile]
    expected = whole[..., 20 + halo : 20 + halo + tile, 12 + halo : 12 + halo + tile]
    torch.testing.assert_close(inner, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 16), (16, 300), (200, 64), (512, 512)])
def test_routing_of_a_flat_image_does_not_depend_on_its_size_or_shape(student, size):
    """All statistics are means and nothing is padded, so no border tells how large a crop is."""
    expected = student.logits(torch.full((1, 3, 64, 64), 0.4))
    logits = student.logits(torch.full((1, 3, *size), 0.4))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_routing_of_a_pattern_depends_ever_less_on_how_much_of_it_is_seen(student):
    pattern = torch.rand(1, 3, 8, 8, generator=rng(6))
    far = student.logits(pattern.repeat(1, 1, 128, 128))
    errors = [
        (student.logits(pattern.repeat(1, 1, n, n)) - far).abs().max().item() for n in (4, 16, 64)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.02 * far.std()


@torch.no_grad()
def test_the_router_decides_by_means_magnitudes_and_squares(student, x_BCHW):
    router = student.router
    a = F.conv2d(F.pixel_unshuffle(x_BCHW, 2), router.conv1.weight, router.conv1.bias, 2)
    b = F.conv2d(a.clamp(min=0), router.conv2.weight, router.conv2.bias, 2)
    maps = (a, a.abs(), b, b.abs(), b.square())
    stats = torch.cat([m.flatten(2).sum(2) / m[0, 0].numel() for m in maps], 1)
    expected = router.head(router.hidden(stats).clamp(min=0))
    torch.testing.assert_close(student.logits(x_BCHW)[:, 0], expected)


def test_config_survives_json():
    config = StudentConfig(widths=(8, 12), blocks=(1, 0, 3), degradations=("a", "b"), levels=2)
    assert StudentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.prompts == 4


@pytest.mark.parametrize(
    "values",
    [
        {"degradations": ("noise",)},
        {"degradations": ("noise", "noise")},
        {"levels": 0},
        {"widths": (0, 4)},
        {"router_hidden": 0},
        {"blocks": (1, -1, 1)},
    ],
)
def test_impossible_configs_are_refused(values):
    with pytest.raises(ValueError, match=r"degradations|positive|negative"):
        StudentConfig(**values)


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match=r"\['depth'\].*blocks"):
        StudentConfig.from_dict({"depth": 3})
