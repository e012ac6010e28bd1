import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PRESETS, PromptIR, PromptIRConfig, create_promptir

SMALL = PromptIRConfig(
    dim=8,
    blocks=(1, 1, 1, 1),
    refinement=1,
    prompt="spm",
    prompt_channels=(16, 8, 4),
    prompt_sizes=(2, 4, 8),
)


def network(**changes):
    torch.manual_seed(0)
    return PromptIR(PromptIRConfig(**{**vars(SMALL), **changes})).eval()


def images(batch=3, height=16, width=24):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def parameters(name, **changes):
    with torch.device("meta"):
        return sum(p.numel() for p in create_promptir(name, **changes).parameters())


def giga_macs(name, size):
    """Multiply-accumulates of a forward pass, in units of 1e9.

    Counted: every convolution, linear layer and matrix product, so also both products of the
    attention (14.6 G of 172.7 G) and the weighted sum of the prompts. Not counted: norms, softmax,
    GELU, additions, bilinear resizing. FlopCounterMode counts a multiply-accumulate as two.
    """
    with torch.device("meta"):  # shapes only, nothing is computed
        model, x = create_promptir(name), torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("n", "count"), [(3, 34_425_345), (5, 35_376_967), (7, 36_328_589), (8, 36_804_400)]
)
def test_parameters_of_cpl(n, count):
    assert parameters("cpl", prompts=n) == count


def test_parameters_of_promptir_with_and_without_its_unused_convolutions():
    assert parameters("promptir") == 35_376_967
    assert parameters("promptir", unused_convs=True) == 35_592_263


@pytest.mark.parametrize(("name", "low", "high"), [("cpl-small", 5e6, 8e6), ("cpl-tiny", 1e6, 2e6)])
def test_parameters_of_the_smaller_teachers(name, low, high):
    assert low < parameters(name) < high


@pytest.mark.parametrize(("size", "giga"), [(128, 43.2), (224, 132.2), (256, 172.7)])
@pytest.mark.parametrize("name", ["cpl", "promptir"])
def test_macs(name, size, giga):
    assert giga_macs(name, size) == pytest.approx(giga, abs=0.05)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_keeps_the_shape(name):
    with torch.device("meta"):
        y, routes = create_promptir(name)(torch.empty(2, 3, 32, 40), return_routes=True)
    assert y.shape == (2, 3, 32, 40)
    assert [route.w_BN.shape for route in routes] == [(2, 5)] * 3


@torch.no_grad()
def test_tiny_preset_runs_for_real():
    torch.manual_seed(0)
    y = create_promptir("cpl-tiny")(images())
    assert y.isfinite().all()
    assert not torch.allclose(y, images(), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("prompt", ["spm", "soft", "none"])
def test_the_network_predicts_a_residual(prompt):
    model = network(prompt=prompt)
    assert not torch.allclose(model(images()), images(), atol=1e-4)
    model.head.weight.zero_()
    assert torch.equal(model(images()), images())


@torch.no_grad()
def test_sites_are_where_the_method_puts_them():
    """Sites 3, 2, 1 in this order, on H/8, H/4 and H/2, with the table's channels."""
    with torch.device("meta"):
        model = create_promptir("cpl")
        seen = []
        for site in model.sites:
            site.register_forward_hook(
                lambda site, args, y: seen.append(
                    (args[0].shape[1:], tuple(site.theta_NCSS.shape), tuple(y.shape[1:]))
                )
            )
        model(torch.empty(1, 3, 64, 64))
    assert [site.fuse.attention.heads for site in model.sites] == [4, 4, 4]
    assert [site.reduce.in_channels for site in model.sites] == [704, 320, 160]
    assert seen == [
        ((384, 8, 8), (5, 320, 16, 16), (192, 8, 8)),
        ((192, 16, 16), (5, 128, 32, 32), (192, 16, 16)),
        ((96, 32, 32), (5, 64, 64, 64), (96, 32, 32)),
    ]


@torch.no_grad()
@pytest.mark.parametrize("prompt", ["spm", "soft", "none"])
def test_forcing_the_own_routes_reproduces_forward(prompt):
    model = network(prompt=prompt)
    y, routes = model(images(), return_routes=True)
    assert torch.equal(model(images()), y)
    assert torch.equal(model(images(), [route.w_BN for route in routes]), y)


@torch.no_grad()
def test_forced_weights_are_ordered_3_2_1_and_each_counts():
    model = network()
    arrived = []
    for site in model.sites:
        site.register_forward_pre_hook(lambda site, args: arrived.append(args[1]))
    y = model(images())
    arrived.clear()
    forced = [torch.full((3, 5), value) for value in (1.0, 2.0, 3.0)]
    model(images(), forced)
    assert [w[0, 0].item() for w in arrived] == [1.0, 2.0, 3.0]
    for index in range(3):
        only = [forced[i] if i == index else None for i in range(3)]
        y_only, routes = model(images(), only, return_routes=True)
        assert not torch.allclose(y_only, y, atol=1e-5)
        assert torch.equal(routes[index].w_BN, forced[index])
        # Where nothing is forced the site's own router decides.
        for site, route, w in zip(model.sites, routes, only, strict=True):
            assert w is not None or torch.equal(route.w_BN, site.select(route.p_BN))


@torch.no_grad()
def test_a_wrong_number_of_forced_weights_is_refused():
    with pytest.raises(ValueError, match="unpack"):
        network()(images(), [torch.ones(3, 5)])


@torch.no_grad()
def test_negatives_share_one_encoding():
    """K wrong routes at once through `decode` equal K forward passes."""
    model, x, k = network(), images(), 4
    _, routes = model(x, return_routes=True)
    generator = torch.Generator().manual_seed(0)
    wrong = [
        site.negative(route.p_BN.repeat_interleave(k, 0), generator, "one")
        for site, route in zip(model.sites, routes, strict=True)
    ]
    features = type(model.encode(x))(*(f.repeat_interleave(k, 0) for f in model.encode(x)))
    together, _ = model.decode(x.repeat_interleave(k, 0), features, wrong)
    for j in range(k):
        alone = model(x, [w_BN[j::k] for w_BN in wrong])
        torch.testing.assert_close(together[j::k], alone, atol=1e-5, rtol=1e-5)


def test_every_parameter_but_the_unused_convolutions_learns():
    model = network(prompt="soft", unused_convs=True)
    model(images()).square().sum().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert idle == {f"unused.{i}.weight" for i in range(6)}


@pytest.mark.parametrize(("height", "width"), [(16, 20), (12, 16), (1, 8)])
def test_sizes_that_are_no_multiple_of_8_are_refused(height, width):
    with pytest.raises(ValueError, match=f"{height}x{width}: pad .* multiples of 8"):
        network()(images(height=height, width=width))


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(UserError, match="no network 'cpl-large'; there are promptir, cpl,"):
        create_promptir("cpl-large")
    with pytest.raises(UserError, match="no prompt 'hard'; there are spm, soft, none"):
        network(prompt="hard")
