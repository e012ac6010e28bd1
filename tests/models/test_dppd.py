import math

import pytest
import torch
import torch.nn.functional as F

from cpl_edge.models.dppd import PromptDistribution, Prototypes
from cpl_edge.models.promptir import PROMPTS, PromptIR, PromptIRConfig, create_promptir
from cpl_edge.models.prompts import SiteConfig

SITE = SiteConfig(dim_in=8, dim_out=4, channels=6, size=3, prompts=5)


def site(**changes):
    torch.manual_seed(0)
    return PROMPTS["dppd"](SiteConfig(**{**vars(SITE), **changes}))


def network(**changes):
    torch.manual_seed(0)
    tiny = {"dim": 8, "blocks": (1, 1, 1, 1), "refinement": 1, "prompt_channels": (16, 8, 4)}
    return PromptIR(PromptIRConfig(**tiny, prompt="dppd", **changes))


def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def features(batch=3, height=4, width=6):
    return torch.randn(batch, 8, height, width, generator=torch.Generator().manual_seed(1))


def embeddings(batch, dim=6, seed=2):
    return torch.randn(batch, dim, generator=torch.Generator().manual_seed(seed))


def one_hot(index, count=5):
    return F.one_hot(torch.tensor(index), count).float()


# -- DPA: prototypes --------------------------------------------------------------------------


def test_the_nearest_prototype_by_cosine_is_assigned():
    """By angle alone: a long embedding wins nothing by it."""
    prompt, q = site(), embeddings(200)
    c = prompt.prototypes.directions_NE
    cosine = torch.tensor([[float(v @ k / v.norm() / k.norm()) for k in c] for v in q])
    assert len(cosine.argmax(1).unique()) == 5
    for scale in (1.0, 1e-3, 1e3):
        p = prompt.prototypes(q * scale)
        torch.testing.assert_close(p, (cosine / 0.1).softmax(1), atol=1e-5, rtol=1e-4)
        assert torch.equal(prompt.select(p).detach(), one_hot(cosine.argmax(1).tolist()))


def test_the_embedding_is_an_mlp_of_the_mean_over_pixels():
    prompt, x = site().eval(), features()
    first, _, last = prompt.router
    hidden = F.gelu(x.flatten(2).mean(2) @ first.weight.T + first.bias)
    p = prompt.prototypes(hidden @ last.weight.T + last.bias)
    torch.testing.assert_close(prompt.probabilities(x), p)


def test_an_update_moves_each_prototype_to_the_mean_of_its_embeddings():
    prototypes = Prototypes(3, 2, momentum=0.75)
    prototypes.directions_NE.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    near = torch.tensor([[2.0, 0.2], [1.0, 0.3], [0.1, 5.0]])  # two, one, none
    prototypes.update(near)
    unit = F.normalize(near, dim=1)
    want = [
        0.75 * torch.tensor([1.0, 0.0]) + 0.25 * F.normalize(unit[0] + unit[1], dim=0),
        0.75 * torch.tensor([0.0, 1.0]) + 0.25 * unit[2],
        torch.tensor([-1.0, 0.0]),
    ]
    torch.testing.assert_close(prototypes.directions_NE, F.normalize(torch.stack(want), dim=1))
    share = torch.tensor([2 / 3, 1 / 3, 0.0])
    torch.testing.assert_close(prototypes.share_N, 0.75 / 3 + 0.25 * share)


def test_prototypes_find_the_clusters_even_if_one_takes_all_at_first():
    """Three tight groups on one side, where only the first prototype is near."""
    centre = F.normalize(torch.tensor([[1.0, 0.3, 0.0], [1.0, -0.3, 0.0], [1.0, 0.0, 0.4]]), dim=1)
    group = torch.arange(60) % 3
    q = centre[group] + 0.02 * embeddings(60, 3)
    prototypes = Prototypes(3, 3, momentum=0.9)
    prototypes.directions_NE.copy_(torch.tensor([[1.0, 0, 0], [-1, 0.1, 0], [-1, 0, 0.1]]))
    assert (prototypes(q).argmax(1) == 0).all()
    for _ in range(200):
        prototypes.update(q)
    chosen = prototypes(q).argmax(1)
    assert len({(int(g), int(k)) for g, k in zip(group, chosen, strict=True)}) == 3
    assert len(set(chosen.tolist())) == 3


def test_prototypes_move_only_while_training_with_gradients():
    prompt, x = site(), features()
    before = prompt.prototypes.directions_NE.clone()
    with torch.no_grad():
        prompt.probabilities(x)  # a validation that forgot eval()
    prompt.eval()
    prompt.probabilities(x)
    assert torch.equal(prompt.prototypes.directions_NE, before)
    prompt.train()
    prompt.probabilities(x)
    assert not torch.equal(prompt.prototypes.directions_NE, before)


def test_prototypes_stay_in_float32_where_the_network_runs_in_bfloat16():
    plain, reduced = site().train(), site().train()
    x_BCHW = features()
    plain.probabilities(x_BCHW)
    with torch.autocast("cpu", torch.bfloat16):
        p_BN = reduced.probabilities(x_BCHW)
    assert p_BN.dtype == torch.float32
    directions_NE = reduced.prototypes.directions_NE
    torch.testing.assert_close(directions_NE, plain.prototypes.directions_NE, atol=1e-3, rtol=0)
    assert not torch.equal(directions_NE, site().prototypes.directions_NE)


def test_prototypes_are_saved_but_never_learned_by_gradient():
    prompt = site()
    assert "prototypes.directions_NE" in prompt.state_dict()
    assert not any("prototypes" in name for name, _ in prompt.named_parameters())


def test_the_assignment_is_straight_through():
    """Forward: exactly one. Backward: the gradient of the softmax over cosines."""
    prompt, x = site(pdl=False), features()
    p = prompt.probabilities(x)
    w = prompt.select(p)
    assert torch.equal(w.detach(), one_hot(p.argmax(1).tolist()))
    g = torch.randn(w.shape, generator=torch.Generator().manual_seed(3))
    through = torch.autograd.grad((w * g).sum(), prompt.router[0].weight, retain_graph=True)[0]
    soft = torch.autograd.grad((p * g).sum(), prompt.router[0].weight)[0]
    assert soft.abs().max() > 0
    torch.testing.assert_close(through, soft)


# -- PDL: distributions -----------------------------------------------------------------------


def test_samples_have_the_mean_and_deviation_of_their_prototype():
    prompt = site(samples=20_000)
    with torch.no_grad():
        prompt.log_sigma_NC.copy_(torch.linspace(-2, 0.5, 30).view(5, 6))
        drawn = prompt.sample(one_hot([3, 0]))
    assert drawn.shape == (2, 20_000, 6)
    for b, k in enumerate([3, 0]):
        mu, sigma = prompt.mu_NC[k].detach(), prompt.log_sigma_NC[k].detach().exp()
        assert ((drawn[b].mean(0) - mu).abs() < 4 * sigma / 20_000**0.5).all()
        torch.testing.assert_close(drawn[b].std(0), sigma, rtol=0.03, atol=0)
    # Diagonal: channels, samples and images are drawn on their own.
    correlation = torch.corrcoef(torch.cat([drawn[0].T, drawn[1].T]))
    assert (correlation - torch.eye(12)).abs().max() < 0.04


def test_every_deviation_starts_at_a_tenth():
    assert torch.allclose(site().log_sigma_NC.exp(), torch.tensor(0.1))


def test_the_gradient_reaches_mean_and_deviation_of_the_assigned_prototype_alone():
    prompt = site()
    prompt(features(), one_hot([2, 2, 4])).square().sum().backward()
    for parameter in (prompt.mu_NC, prompt.log_sigma_NC):
        reached = parameter.grad.abs().amax(1) > 0
        assert reached.tolist() == [False, False, True, False, True]


@torch.no_grad()
def test_outside_training_the_prompt_is_the_mean_alone():
    prompt, x = site().eval(), features()
    w = prompt.route(x)
    assert torch.equal(prompt.sample(w), prompt.mu_NC[w.argmax(1)].unsqueeze(1))
    assert torch.equal(prompt(x), prompt(x))
    prompt.train()
    assert not torch.equal(prompt(x, w), prompt(x, w))


@torch.no_grad()
def test_cross_attention_matches_a_naive_computation():
    """Pixel by pixel: query = feature, keys and values = prompts, residual."""
    prompt, x = site(), features(batch=1, height=2, width=2)
    p = embeddings(4)
    q, k, v, o = (m.weight.flatten(1) for m in (prompt.query, prompt.key, prompt.value, prompt.out))
    got = prompt.attend(x, p.unsqueeze(0))
    for i in range(2):
        for j in range(2):
            feature = x[0, :, i, j]
            score = torch.stack([(q @ feature) @ (k @ row) / math.sqrt(6) for row in p])
            read = sum(a * (v @ row) for a, row in zip(score.softmax(0), p, strict=True))
            torch.testing.assert_close(got[0, :, i, j], feature + o @ read)


# -- both, either, neither --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dpa", "pdl"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_each_part_works_alone(dpa, pdl):
    prompt, x = site(dpa=dpa, pdl=pdl), features()
    assert isinstance(prompt, PromptDistribution)
    assert prompt(x).shape == (3, 4, 4, 6)
    p = prompt.probabilities(x)
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    # DPA: one prototype. Without: PromptIR's soft weights.
    w = prompt.select(p)
    assert (w == 1).sum(1).tolist() == ([1, 1, 1] if dpa else [0, 0, 0])
    if not dpa:
        assert torch.equal(w, p)
        torch.testing.assert_close(p, prompt.router(x.mean((2, 3))).softmax(1))
    # PDL: training samples. Without: always the mean.
    with torch.no_grad():
        assert prompt.sample(w).shape == (3, 4 if pdl else 1, 6)
        assert torch.equal(prompt(x, w), prompt(x, w)) != pdl
        prompt.eval()
        assert torch.equal(prompt(x), prompt(x, prompt.route(x)))
    prompt.train()
    prompt(x).square().sum().backward()
    # With a single key the softmax is 1 whatever query and key are.
    idle = {name for name, v in prompt.named_parameters() if v.grad is None or not v.grad.any()}
    assert idle == (set() if pdl else {"query.weight", "key.weight"})


@torch.no_grad()
def test_without_dpa_the_distributions_are_mixed():
    prompt = site(dpa=False).eval()
    w = torch.tensor([[0.5, 0.0, 0.25, 0.0, 0.25]])
    mean = 0.5 * prompt.mu_NC[0] + 0.25 * prompt.mu_NC[2] + 0.25 * prompt.mu_NC[4]
    torch.testing.assert_close(prompt.sample(w)[0, 0], mean)


def test_the_parts_are_fields_of_the_network():
    sites = network(pdl=False, prompts=7).sites
    assert all(s.prototypes is not None and s.log_sigma_NC is None for s in sites)
    assert [tuple(s.mu_NC.shape) for s in sites] == [(7, 16), (7, 8), (7, 4)]
    sites = network(dpa=False, samples=9).sites
    assert all(s.prototypes is None and s.samples == 9 for s in sites)


@torch.no_grad()
def test_the_network_restores_with_dppd_and_repeats_itself():
    model, x = network().eval(), images()
    y, routes = model(x, return_routes=True)
    assert torch.equal(model(x, [route.w_BN for route in routes]), y)
    assert y.isfinite().all()


def test_the_whole_network_trains_with_dppd():
    model = network()
    model(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"prompt": "none"}, 26_607_892),
        ({"prompt": "dppd", "dpa": False, "pdl": False}, 27_166_787),
        ({"prompt": "dppd", "dpa": False}, 27_169_347),
        ({"prompt": "dppd", "pdl": False}, 27_440_916),
        ({"prompt": "dppd"}, 27_443_476),
    ],
    ids=["none", "neither", "pdl", "dpa", "dppd"],
)
def test_parameters_of_the_ablation(changes, count):
    with torch.device("meta"):
        model = create_promptir("cpl", **changes)
    total = sum(p.numel() for p in model.parameters())
    print(f"cpl with {changes}: {total:,} parameters")
    assert total == count
