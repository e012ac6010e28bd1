import math

import pytest
import torch

from cpl_edge.losses.reconstruction import FREQUENCY, RECONSTRUCTION

LOSSES = {**RECONSTRUCTION, **FREQUENCY}


def images(seed, batch=2, height=6, width=8):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def dft(image_HW):
    """The whole spectrum from its definition, orthonormal."""
    height, width = image_HW.shape
    rows = torch.outer(torch.arange(height), torch.arange(height)) / height
    columns = torch.outer(torch.arange(width), torch.arange(width)) / width
    return (
        torch.exp(-2j * math.pi * rows)
        @ image_HW.to(torch.complex64)
        @ torch.exp(-2j * math.pi * columns)
        / math.sqrt(height * width)
    )


def spectra(z):
    return torch.stack([dft(c)[:, : z.shape[3] // 2 + 1] for image in z for c in image])


def test_a_recipe_can_choose_these():
    assert list(RECONSTRUCTION) == ["l1", "charbonnier", "psnr"]
    assert list(FREQUENCY) == ["complex", "amplitude"]


def test_values_against_naive_computations():
    y, target = images(0), images(1)
    d = (y - target).flatten().tolist()
    want = {
        "l1": sum(abs(v) for v in d) / len(d),
        "charbonnier": sum(math.sqrt(v * v + 1e-6) for v in d) / len(d),
        "psnr": -sum(
            -10 * math.log10(((a - b) ** 2).mean().item()) for a, b in zip(y, target, strict=True)
        ) / 2,
        "complex": torch.view_as_real(spectra(y - target)).abs().mean().item(),
        "amplitude": (spectra(y).abs() - spectra(target).abs()).abs().mean().item(),
    }  # fmt: skip
    for name, loss in LOSSES.items():
        assert loss(y, target).item() == pytest.approx(want[name], rel=1e-4), name


@pytest.mark.parametrize("name", LOSSES)
def test_equal_images_are_the_minimum_with_a_finite_gradient(name):
    target = images(1)
    y = target.clone().requires_grad_()
    best = LOSSES[name](y, target)
    best.backward()
    assert y.grad.isfinite().all()
    assert best.item() == pytest.approx({"charbonnier": 1e-3, "psnr": -80}.get(name, 0), abs=1e-6)
    assert LOSSES[name](images(0), target) > best
    assert LOSSES[name](0.5 * images(0) + 0.5 * target, target) < LOSSES[name](images(0), target)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_is_computed_in_float32(name):
    y, target = images(0).bfloat16(), images(1)
    loss = LOSSES[name](y, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, LOSSES[name](y.float(), target))


def test_amplitude_ignores_where_and_complex_does_not():
    target = images(1)
    moved = target.roll((2, 3), (2, 3))
    assert FREQUENCY["amplitude"](moved, target) < 1e-6
    assert FREQUENCY["complex"](moved, target) > 0.05


@pytest.mark.parametrize("name", FREQUENCY)
def test_frequency_does_not_grow_with_the_image(name):
    """White noise of the same strength, 16 times the pixels."""
    target = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 64, 64)
    noise = (0.1 * torch.randn(t.shape, generator=torch.Generator().manual_seed(2)) for t in target)
    small, large = (FREQUENCY[name](n, t) for n, t in zip(noise, target, strict=True))
    assert large.item() == pytest.approx(small.item(), rel=0.1)
