import pytest
import torch
import torch.nn.functional as F

from cpl_edge.errors import UserError
from cpl_edge.losses.contrastive import ContrastiveRegularisation
from cpl_edge.losses.features import FilterBank
from cpl_edge.models.promptir import PromptIR, PromptIRConfig

SMALL = PromptIRConfig(
    dim=8,
    blocks=(1, 1, 1, 1),
    refinement=1,
    prompt="spm",
    prompt_channels=(16, 8, 4),
    prompt_sizes=(2, 4, 8),
)
WEIGHTS = ["router", "selected", "one"]


class Stub:
    """Two layers that a hand can compute: the image, and its square at half size."""

    layer_weights = (0.25, 0.75)

    def __init__(self):
        self.seen = []

    def __call__(self, y):
        self.seen.append((y.detach().clone(), y.requires_grad, torch.is_grad_enabled()))
        return [y, F.avg_pool2d(y, 2) ** 2]


def network(**changes):
    torch.manual_seed(0)
    return PromptIR(PromptIRConfig(**{**vars(SMALL), **changes}))


def images(batch=3, seed=1):
    return torch.rand(batch, 3, 16, 24, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def positive(model, x):
    encoded = model.encode(x)
    return encoded, *model.decode(x, encoded)


def spy(model, monkeypatch):
    """What `decode` is asked for."""
    calls = []
    decode = model.decode

    def record(x, features, w=None):
        calls.append((x, w))
        return decode(x, features, w)

    monkeypatch.setattr(model, "decode", record)
    return calls


def naive(features, y, wrong, weight):
    """- weight * sum_j sum_l lambda_l * mean |n(phi_l(y)) - n(phi_l(y_j))|"""
    total = 0.0
    for y_j in wrong:
        for lambda_l, a, b in zip(features.layer_weights, features(y), features(y_j), strict=True):
            a, b = (z / z.square().sum(1, keepdim=True).sqrt() for z in (a, b))
            total += lambda_l * (a - b).abs().sum().item() / a.numel()
    return -weight * total


# -- negatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize(("prompts", "top_k"), [(5, 1), (2, 1), (6, 3)])
def test_negatives_never_include_a_selected_prompt(monkeypatch, weight, prompts, top_k):
    model, x = network(prompts=prompts, top_k=top_k), images()
    encoded, y, routes = positive(model, x)
    calls = spy(model, monkeypatch)
    term = ContrastiveRegularisation(Stub(), 8, negative_weight=weight, batched=False)
    for seed in range(3):
        term(model, x, encoded, y, routes, seeded(seed))
    assert len(calls) == 24
    for _, forced in calls:
        for w, route in zip(forced, routes, strict=True):
            assert ((w != 0).sum(1) == top_k).all()
            assert not (w * route.w_BN).any()


def test_each_site_and_sample_draws_on_its_own(monkeypatch):
    """As often together as chance has it: 4 wrong prompts at each site."""
    model, x = network(), images(batch=1)
    encoded, _, routes = positive(model, x)
    calls = spy(model, monkeypatch)
    term = ContrastiveRegularisation(Stub(), 400, negative_weight="one")
    term.wrong_restorations(model, images(1), encoded, routes, seeded())
    drawn = torch.stack([w.argmax(1) for w in calls[0][1]])  # 3 sites, 400 draws
    for a, b in ((0, 1), (0, 2), (1, 2)):
        rank_a, rank_b = (
            drawn[a].unique(return_inverse=True)[1],
            drawn[b].unique(return_inverse=True)[1],
        )
        assert rank_a.max() == rank_b.max() == 3
        assert (rank_a == rank_b).float().mean().item() == pytest.approx(0.25, abs=0.08)
    assert len(drawn.T.unique(dim=0)) > 40  # of 64


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_choice_of_weight_reaches_the_decoder(monkeypatch, weight):
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    calls = spy(model, monkeypatch)
    ContrastiveRegularisation(Stub(), 1, negative_weight=weight)(
        model, x, encoded, y, routes, seeded()
    )
    for w, (p, right) in zip(calls[0][1], routes, strict=True):
        want = {"router": p.gather(1, w.argmax(1, keepdim=True)), "one": torch.ones(3, 1)}
        want["selected"] = right.amax(1, keepdim=True)
        torch.testing.assert_close(w.amax(1, keepdim=True), want[weight].detach())


@pytest.mark.parametrize("weight", WEIGHTS)
def test_batched_equals_sequential(weight):
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    results = []
    for batched in (True, False):
        term = ContrastiveRegularisation(Stub(), 4, 1.0, weight, batched)
        wrong = term.wrong_restorations(model, x, encoded, routes, seeded())
        value = term(model, x, encoded, y, routes, seeded())
        gradient = torch.autograd.grad(value, model.head.weight, retain_graph=True)[0]
        results.append((torch.stack(wrong), value, gradient))
    assert results[0][0].shape == (4, 3, 3, 16, 24)
    for together, alone in zip(*results, strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    # The wrong restorations are told apart, so an exchange of two would be noticed.
    first, second = results[0][0][:2]
    assert (first - second).abs().amax((1, 2, 3)).max() > 1e-3 or weight == "router"


def test_batched_is_one_pass_over_a_shared_encoding(monkeypatch):
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    calls = spy(model, monkeypatch)
    monkeypatch.setattr(model, "encode", None)  # not called again
    ContrastiveRegularisation(Stub(), 4)(model, x, encoded, y, routes, seeded())
    assert [len(call[0]) for call in calls] == [12]
    calls.clear()
    ContrastiveRegularisation(Stub(), 4, batched=False)(model, x, encoded, y, routes, seeded())
    assert [len(call[0]) for call in calls] == [3] * 4


def test_the_encoding_can_be_left_out():
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    term = ContrastiveRegularisation(Stub())
    given, computed = (term(model, x, e, y, routes, seeded()) for e in (encoded, None))
    torch.testing.assert_close(given, computed)


def test_negatives_repeat_with_the_generator():
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    term = ContrastiveRegularisation(Stub(), 4, 1.0, "one")
    first, again, other = (term(model, x, encoded, y, routes, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# -- gradient ---------------------------------------------------------------------------------


def test_no_gradient_reaches_a_negative():
    """The same gradients as with wrong restorations that are constants."""
    model, x = network(), images()
    term = ContrastiveRegularisation(Stub(), 4, 1.0, "one")

    def gradients(value):
        return torch.autograd.grad(value, list(model.parameters()), allow_unused=True)

    encoded, y, routes = positive(model, x)
    wrong = term.wrong_restorations(model, x, encoded, routes, seeded())
    assert not any(z.requires_grad for z in wrong)
    constants = [z.clone().detach() for z in wrong]
    got = gradients(term(model, x, encoded, y, routes, seeded()))

    stub = Stub()
    y = model(x)
    total = sum(
        w_l * (F.normalize(a, dim=1) - F.normalize(b, dim=1)).abs().mean()
        for z in constants
        for w_l, a, b in zip(stub.layer_weights, stub(y), stub(z), strict=True)
    )
    for (name, _), a, b in zip(model.named_parameters(), got, gradients(-total), strict=True):
        assert a is not None and b is not None, name
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4, msg=name)


def test_wrong_prompts_learn_nothing():
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    ContrastiveRegularisation(FilterBank(), 8, 1.0, "one")(
        model, x, encoded, y, routes, seeded()
    ).backward()
    for site, route in zip(model.sites, routes, strict=True):
        selected = (route.w_BN != 0).any(0)
        reached = site.theta_NCSS.grad.flatten(1).abs().amax(1) > 0
        assert not selected.all()
        assert torch.equal(reached, selected)


def test_features_of_negatives_keep_no_graph():
    model, x, stub = network(), images(), Stub()
    encoded, y, routes = positive(model, x)
    ContrastiveRegularisation(stub, 2)(model, x, encoded, y, routes, seeded())
    assert [(grad, enabled) for _, grad, enabled in stub.seen] == [(True, True)] + 2 * [
        (False, False)
    ]


# -- the sum ----------------------------------------------------------------------------------


def test_the_sum_runs_over_all_layers_and_all_negatives():
    stub, y = Stub(), images() + 0.1
    wrong = [images(seed=s) + 0.1 for s in (2, 3, 4)]
    term = ContrastiveRegularisation(stub, 3, weight=0.5)
    full = term.term(y, wrong).item()
    assert full == pytest.approx(naive(Stub(), y, wrong, 0.5), rel=1e-5)
    assert full < 0
    # Each of the six parts counts, and they add up.
    parts = []
    for layer in range(2):
        stub.layer_weights = tuple(w if i == layer else 0.0 for i, w in enumerate((0.25, 0.75)))
        parts += [term.term(y, [z]).item() for z in wrong]
    assert len(parts) == 6 and max(parts) < 0
    assert sum(parts) == pytest.approx(full, rel=1e-5)


def test_the_whole_call_is_the_formula():
    model, x = network(), images()
    encoded, y, routes = positive(model, x)
    term = ContrastiveRegularisation(FilterBank(), 4, 0.3, "one")
    wrong = term.wrong_restorations(model, x, encoded, routes, seeded())
    value = term(model, x, encoded, y, routes, seeded())
    assert value.item() == pytest.approx(naive(FilterBank(), y, wrong, 0.3), rel=1e-4)


def test_the_weight_is_shared_by_the_negatives_unless_given():
    assert ContrastiveRegularisation(Stub()).weight == 0.001 / 4
    assert ContrastiveRegularisation(Stub(), 2).weight == 0.001 / 2
    assert ContrastiveRegularisation(Stub(), 2, 0.0).weight == 0


# -- what it does -----------------------------------------------------------------------------


def test_the_loss_falls_when_outputs_move_apart():
    term = ContrastiveRegularisation(FilterBank(), 1, 1.0)
    y, away = images(), torch.randn(images().shape, generator=seeded(5))
    values = [term.term(y, [y + step * away]).item() for step in (0.0, 0.01, 0.05, 0.2)]
    assert values[0] == 0
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[1] < 0


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_step_of_the_network_moves_away_from_where_the_negatives_were(weight):
    """The negatives that the step was taken from: the new ones move along, as no gradient knows."""
    model, x = network(), images()
    optimiser = torch.optim.SGD(model.parameters(), 0.03)
    term = ContrastiveRegularisation(FilterBank(), 4, 1.0, weight)
    encoded, y, routes = positive(model, x)
    wrong = term.wrong_restorations(model, x, encoded, routes, seeded())
    before = term.term(y, wrong)
    before.backward()
    optimiser.step()
    assert term.term(model(x), wrong) < before < 0


def test_it_is_computed_in_float32_under_autocast():
    model, x = network(), images()
    with torch.autocast("cpu", torch.bfloat16):
        encoded, y, routes = positive(model, x)
        value = ContrastiveRegularisation(FilterBank())(model, x, encoded, y, routes, seeded())
    assert value.dtype == torch.float32
    value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("prompt", ["soft", "none", "dppd"])
def test_other_prompts_are_refused(prompt):
    model, x = network(prompt=prompt), images()
    encoded, y, routes = positive(model, x)
    with pytest.raises(UserError, match="needs sparse prompts"):
        ContrastiveRegularisation(Stub())(model, x, encoded, y, routes, seeded())


def test_at_least_one_negative():
    with pytest.raises(UserError, match="0 negatives: choose 1 or more"):
        ContrastiveRegularisation(Stub(), 0)
