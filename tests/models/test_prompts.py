import pytest
import torch
import torch.nn.functional as F

from cpl_edge.models.prompts import NoPrompt, SiteConfig, SoftPrompt, SparsePrompt

PROMPTS = {"spm": SparsePrompt, "soft": SoftPrompt, "none": NoPrompt}
SITE = SiteConfig(dim_in=8, dim_out=4, channels=4, size=3, prompts=5, top_k=1)


def site(kind="spm", **changes):
    torch.manual_seed(0)
    return PROMPTS[kind](SiteConfig(**{**vars(SITE), **changes}))


def features(batch=6, height=4, width=6):
    return torch.randn(batch, 8, height, width, generator=torch.Generator().manual_seed(1))


def probabilities(batch=64, n=6):
    return torch.randn(batch, n, generator=torch.Generator().manual_seed(2)).softmax(1)


def bilinear(image_SS, height, width):
    """Bilinear resizing with pixel centres at +0.5 (align_corners=False), one pixel at a time."""
    size = image_SS.shape[0]
    out = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * size / height - 0.5, 0), size - 1)
            x = min(max((j + 0.5) * size / width - 0.5, 0), size - 1)
            top, left = int(y), int(x)
            down, right = min(top + 1, size - 1), min(left + 1, size - 1)
            dy, dx = y - top, x - left
            out[i, j] = (1 - dy) * ((1 - dx) * image_SS[top, left] + dx * image_SS[top, right])
            out[i, j] += dy * ((1 - dx) * image_SS[down, left] + dx * image_SS[down, right])
    return out


@pytest.mark.parametrize("kind", list(PROMPTS))
def test_every_kind_keeps_the_size_and_changes_the_channels(kind):
    assert site(kind)(features()).shape == (6, 4, 4, 6)


@pytest.mark.parametrize("kind", list(PROMPTS))
@torch.no_grad()
def test_forcing_the_own_route_changes_nothing(kind):
    prompt, x = site(kind), features()
    assert torch.equal(prompt(x, prompt.route(x)), prompt(x))


@torch.no_grad()
def test_router_is_a_softmax_of_the_mean_over_pixels():
    prompt, x = site("soft"), features()
    logits = x.flatten(2).mean(2) @ prompt.router.weight.T + prompt.router.bias
    torch.testing.assert_close(prompt.route(x), logits.exp() / logits.exp().sum(1, keepdim=True))


@torch.no_grad()
def test_soft_prompt_matches_a_naive_computation():
    """Weighted sum, bilinear resizing (align_corners=False), 3x3, concatenation and fusion."""
    prompt, x = site("soft"), features(batch=2)
    w = torch.tensor([[0.1, 0.0, 0.5, 0.2, 0.2], [0.0, 2.0, 0.0, 0.0, 0.0]])
    resized = torch.zeros(2, 4, 4, 6)
    for b in range(2):
        for c in range(4):
            mixed = sum(w[b, i] * prompt.theta_NCSS[i, c] for i in range(5))
            resized[b, c] = bilinear(mixed, 4, 6)
    joined = torch.cat([x, F.conv2d(resized, prompt.conv.weight, padding=1)], 1)
    torch.testing.assert_close(prompt(x, w), prompt.reduce(prompt.fuse(joined)))


def test_prompts_start_uniform_between_0_and_1():
    theta = site(size=32).theta_NCSS.detach()
    assert theta.min() >= 0
    assert theta.max() < 1
    assert abs(theta.mean() - 0.5) < 0.01
    assert abs(theta.std() - 12**-0.5) < 0.01


@pytest.mark.parametrize("k", [1, 2, 3])
def test_sparse_keeps_the_k_largest_as_they_are(k):
    p = probabilities()
    w = site(prompts=6, top_k=k).select(p)
    assert torch.equal((w != 0).sum(1), torch.full((64,), k))
    assert torch.equal(w[w != 0], p[w != 0])  # not renormalised
    kept = p.masked_fill(w == 0, torch.inf).amin(1)
    dropped = p.masked_fill(w != 0, -torch.inf).amax(1)
    assert (kept > dropped).all()
    assert (w.sum(1) < 1).all()


@pytest.mark.parametrize(
    ("p", "want"),
    [
        ([0.2, 0.2, 0.2, 0.2, 0.2], [0.2, 0.2, 0, 0, 0]),
        ([0.1, 0.3, 0.2, 0.2, 0.2], [0, 0.3, 0.2, 0, 0]),
        ([0.0, 0.1, 0.1, 0.4, 0.4], [0, 0, 0, 0.4, 0.4]),
    ],
)
def test_of_equal_weights_the_lower_index_is_selected(p, want):
    assert site(top_k=2).select(torch.tensor([p])).tolist() == torch.tensor([want]).tolist()


def test_gradient_reaches_only_selected_prompts_and_the_router():
    prompt, x = site(), features()
    selected = prompt.route(x).detach()[:3].amax(0) > 0  # what the first three samples use
    assert 0 < selected.sum() < 5
    prompt(x[:3]).square().sum().backward()
    reached = prompt.theta_NCSS.grad.flatten(1).abs().amax(1) > 0
    assert torch.equal(reached, selected)
    assert prompt.router.weight.grad.abs().max() > 0


def test_soft_gradient_reaches_every_prompt():
    prompt = site("soft")
    prompt(features()).square().sum().backward()
    assert (prompt.theta_NCSS.grad.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("weight", ["router", "selected", "one"])
@pytest.mark.parametrize(("n", "k"), [(5, 1), (2, 1), (4, 2), (6, 3)])
def test_negatives_never_include_a_selected_prompt(n, k, weight):
    prompt = site(prompts=n, top_k=k)
    for seed in range(100):
        p = torch.randn(32, n, generator=torch.Generator().manual_seed(seed)).softmax(1)
        p[0] = 1 / n  # all equal
        wrong = prompt.negative(p, torch.Generator().manual_seed(seed), weight)
        assert not (wrong * prompt.select(p)).any()
        assert torch.equal((wrong != 0).sum(1), torch.full((32,), k))


def test_negatives_of_extreme_routers_never_include_a_selected_prompt():
    p = torch.zeros(64, 5)
    p[:, 2] = 1.0  # every other softmax value underflowed
    wrong = site().negative(p, torch.Generator().manual_seed(0), "one")
    assert not wrong[:, 2].any()
    assert torch.equal(wrong.sum(1), torch.ones(64))


def test_negatives_are_drawn_for_each_sample_and_equally_often():
    p = torch.tensor([[0.1, 0.6, 0.05, 0.05, 0.2]]).expand(20_000, -1)
    wrong = site().negative(p, torch.Generator().manual_seed(0), "one")
    share = wrong.mean(0)
    assert share[1] == 0
    assert (share[[0, 2, 3, 4]] - 0.25).abs().max() < 0.015


def test_negatives_repeat_with_the_seed():
    prompt, p = site(), probabilities(n=5)
    first, again, other = (
        prompt.negative(p, torch.Generator().manual_seed(seed), "one") for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_of_negatives():
    prompt, p = site(prompts=6, top_k=2), probabilities()

    def drawn(weight):
        return prompt.negative(p, torch.Generator().manual_seed(0), weight)

    wrong = drawn("router") != 0
    assert torch.equal(drawn("router")[wrong], p[wrong])
    assert torch.equal(drawn("one"), wrong.float())
    right = p.sort(1, descending=True).values[:, :2]
    assert torch.equal(drawn("selected").sort(1, descending=True).values[:, :2], right)
    assert torch.equal(drawn("selected") != 0, wrong)


def test_negatives_carry_no_gradient():
    p = probabilities(n=5).requires_grad_()
    for weight in ("router", "selected", "one"):
        assert not site().negative(p, torch.Generator().manual_seed(0), weight).requires_grad


@pytest.mark.parametrize(("n", "k"), [(5, 3), (1, 1), (5, 0)])
def test_sparse_needs_twice_as_many_prompts_as_it_selects(n, k):
    with pytest.raises(ValueError, match="prompts >= 2 \\* top_k"):
        site(prompts=n, top_k=k)


@torch.no_grad()
def test_no_prompt_is_the_fusion_alone():
    prompt, x = site("none"), features()
    assert isinstance(prompt, NoPrompt)
    assert prompt.route(x).shape == (6, 0)
    assert torch.equal(prompt(x), prompt.reduce(prompt.fuse(x)))


def test_sparse_and_soft_hold_the_same_parameters():
    sparse, soft = site("spm"), site("soft")
    assert isinstance(sparse, SparsePrompt)
    assert type(soft) is SoftPrompt
    assert sparse.load_state_dict(soft.state_dict()).missing_keys == []
