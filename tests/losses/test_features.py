import pytest
import torch
import torch.nn.functional as F

from cpl_edge.errors import UserError
from cpl_edge.losses.features import FilterBank, Vgg16Features

# Of torchvision's vgg16: every convolution up to relu3_3.
VGG = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
    14: (256, 256),
}  # fmt: skip


# Sum and sum of magnitudes of the filter bank's weights and biases.
PINNED = [
    (7.33696, 95.01512),
    (1.33636, 5.04022),
    (-3.4572, 432.81557),
    (-0.11539, 7.19345),
    (16.85924, 1228.7787),
    (-1.69449, 15.57477),
]


def images(batch=2, height=16, width=24):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def vgg_state():
    """Names and shapes of torchvision's file, and some of what this product does not read."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for index, shape in VGG.items():
        state[f"features.{index}.weight"] = 0.05 * torch.randn(*shape, 3, 3, generator=generator)
        state[f"features.{index}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    state["features.17.weight"] = torch.zeros(512, 256, 3, 3)
    state["classifier.6.bias"] = torch.zeros(1000)
    return state


@pytest.fixture(name="vgg", scope="module")
def a_vgg_of_random_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(vgg_state(), path, _use_new_zipfile_serialization=False)  # as torchvision's is
    return Vgg16Features(path)


@pytest.fixture(name="extractor", params=["bank", "vgg"])
def either(request):
    return FilterBank() if request.param == "bank" else request.getfixturevalue("vgg")


def test_three_layers_at_full_half_and_quarter_size(extractor):
    layers = extractor(images())
    assert [f.shape[2:] for f in layers] == [(16, 24), (8, 12), (4, 6)]
    assert extractor.layer_weights == (0.2, 0.3, 0.5)
    channels = [16, 32, 64] if isinstance(extractor, FilterBank) else [64, 128, 256]
    assert [f.shape[1] for f in layers] == channels


def test_nothing_learns_but_the_gradient_reaches_the_image(extractor):
    assert not any(p.requires_grad for p in extractor.parameters())
    y = images().requires_grad_()
    for layer in extractor(y):
        (gradient,) = torch.autograd.grad(layer.sum(), y, retain_graph=True)
        assert (gradient.abs().amax(1) > 0).float().mean() > 0.9
    assert all(p.grad is None for p in extractor.parameters())


def test_small_images_are_enough(extractor):
    assert extractor(images(height=4, width=4))[-1].shape[2:] == (1, 1)


# -- filter bank ------------------------------------------------------------------------------


def test_the_filters_are_the_same_everywhere_and_use_no_other_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    parameters = [p.double() for p in FilterBank().parameters()]
    assert torch.equal(torch.get_rng_state(), before)
    sums = [(p.sum().item(), p.abs().sum().item()) for p in parameters]
    assert sums == [pytest.approx(pair, abs=1e-3) for pair in PINNED]


def test_filters_are_orthogonal():
    for layer in FilterBank().layers:
        w = layer.weight.flatten(1)
        torch.testing.assert_close(w @ w.T, 2 * torch.eye(len(w)), atol=1e-5, rtol=0)


def test_layers_match_plain_convolutions():
    bank, x = FilterBank(), images()
    h = 2 * x - 1
    for index, (layer, got) in enumerate(zip(bank.layers, bank(x), strict=True)):
        if index:
            h = (h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]) / 4
        h = F.conv2d(h, layer.weight, layer.bias, padding=1).clamp_min(0)
        torch.testing.assert_close(got, h)


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_no_feature_vanishes_on_a_flat_image(level):
    """Its direction is taken; at length 0 the gradient of that has no bound."""
    for layer in FilterBank()(torch.full((1, 3, 16, 16), level)):
        assert layer.norm(dim=1).min() > 0.1


def test_stronger_degradations_are_farther_away():
    bank = FilterBank()
    clean = F.interpolate(images(1, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))

    def distance(y):
        pairs = zip(bank(y), bank(clean), strict=True)
        return sum((F.normalize(a, dim=1) - F.normalize(b, dim=1)).abs().mean() for a, b in pairs)

    for family in (
        [clean + sigma / 255 * noise for sigma in (0, 15, 25, 50)],
        [clean * t + 0.9 * (1 - t) for t in (1.0, 0.8, 0.5, 0.2)],
        [clean**gamma for gamma in (1, 1.5, 2, 3)],
    ):
        distances = [distance(y).item() for y in family]
        assert distances[0] == 0
        assert distances == sorted(distances)
        assert distances[1] > 1e-3


# -- VGG --------------------------------------------------------------------------------------


def test_vgg_matches_its_definition(vgg):
    """ImageNet's normalisation; convolutions with ReLU; the largest of 2x2 between the blocks."""
    state, x = vgg_state(), images()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    h = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    for block, got in zip(((0, 2), (5, 7), (10, 12, 14)), vgg(x), strict=True):
        if block[0]:
            h = h.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        for index in block:
            weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
            h = F.conv2d(h, weight, bias, padding=1).clamp_min(0)
        torch.testing.assert_close(got, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.7.bias": None}, "features.7.bias is missing"),
        ({"features.2.weight": torch.zeros(64)}, r"features.2.weight has shape \(64,\)"),
    ],
)
def test_what_is_no_vgg16_is_refused(tmp_path, change, message):
    state = {k: v for k, v in {**vgg_state(), **change}.items() if v is not None}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=f"not torchvision's VGG16: {message}"):
        Vgg16Features(tmp_path / "a.pth")
    with pytest.raises(UserError, match="does not exist"):
        Vgg16Features(tmp_path / "none.pth")
