import copy

import pytest
import torch

from cpl_edge.train.muon import Muon, orthogonalise

# The matrices of student s: (out, in * 3 * 3), and the 1x1 up-convolution, which is tall.
SHAPES = [(32, 108), (64, 288), (64, 576), (32, 288), (128, 64), (24, 108), (32, 216)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def convolution(seed=0, shape=(12, 4, 3, 3)):
    weight = torch.nn.Parameter(torch.randn(shape, generator=rng(seed)))
    weight.grad = torch.randn(shape, generator=rng(seed + 100))
    return weight


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_are_pushed_close_to_one(shape):
    matrix_BRC = torch.randn(3, *shape, generator=rng()) * torch.tensor([1e-4, 1.0, 1e3]).view(
        3, 1, 1
    )
    out_BRC = orthogonalise(matrix_BRC)
    assert out_BRC.shape == matrix_BRC.shape
    assert out_BRC.dtype == matrix_BRC.dtype
    values = torch.linalg.svdvals(out_BRC)
    assert 0.6 < values.min() < values.max() < 1.3


def test_the_result_keeps_the_singular_vectors():
    matrix_RC = torch.randn(16, 48, generator=rng())
    u, _, vh = torch.linalg.svd(matrix_RC, full_matrices=False)
    core = u.mT @ orthogonalise(matrix_RC[None])[0] @ vh.mT  # diagonal if the vectors are kept
    off_diagonal = core - torch.diag(core.diagonal())
    assert (core.diagonal() > 0.6).all()
    assert off_diagonal.abs().max() < 0.05  # bf16


def test_a_zero_gradient_moves_nothing():
    assert torch.equal(orthogonalise(torch.zeros(1, 4, 8)), torch.zeros(1, 4, 8))


@pytest.mark.parametrize("shape", [(16, 12, 3, 3), (32, 8, 1, 1), (10, 40)])
def test_a_step_has_the_usual_size_whatever_the_gradients(shape):
    for scale in (1e-6, 1.0, 1e4):
        weight = convolution(shape=shape)
        weight.grad *= scale
        before = weight.detach().clone()
        Muon([weight], lr=0.01).step()
        change = (weight.detach() - before).square().mean().sqrt()
        assert 0.7 * 0.2 * 0.01 < change < 1.2 * 0.2 * 0.01


def test_a_step_goes_downhill():
    weight = convolution()
    before, gradient = weight.detach().clone(), weight.grad.clone()
    Muon([weight]).step()
    assert ((weight.detach() - before) * gradient).sum() < 0


def test_momentum_is_nesterovs():
    """Two steps against the formula: m <- 0.95 m + 0.05 g; update from 0.05 g + 0.95 m."""
    weight = convolution()
    optimiser = Muon([weight], lr=0.1, momentum=0.95)
    expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
    for seed in (1, 2):
        gradient = torch.randn(weight.shape, generator=rng(seed))
        weight.grad = gradient.clone()
        optimiser.step()
        momentum = 0.95 * momentum + 0.05 * gradient
        mixed = (0.05 * gradient + 0.95 * momentum).flatten(1)
        update = orthogonalise(mixed[None])[0] * 0.2 * 36**0.5
        expected -= 0.1 * update.view_as(expected)
    torch.testing.assert_close(weight.detach(), expected, atol=2e-3, rtol=0)  # bf16 rounding


def test_weights_of_one_shape_together_move_as_one_by_one():
    together = [convolution(seed) for seed in range(3)] + [convolution(9, (6, 4, 3, 3))]
    alone = copy.deepcopy(together)
    for one, other in zip(together, alone, strict=True):
        other.grad = one.grad.clone()
    joint, singles = Muon(together, lr=0.1), [Muon([weight], lr=0.1) for weight in alone]
    for _ in range(3):
        for optimiser in (joint, *singles):
            optimiser.step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # of steps of 0.02


def test_parameters_without_a_gradient_stay():
    moving, resting = convolution(0), convolution(1)
    resting.grad = None
    before = resting.detach().clone()
    Muon([moving, resting]).step()
    assert torch.equal(resting.detach(), before)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"\(7,\)"):
        Muon([convolution(), torch.nn.Parameter(torch.zeros(7))])


def test_a_saved_state_goes_on_identically():
    def steps(weight, optimiser, seeds):
        for seed in seeds:
            weight.grad = torch.randn(weight.shape, generator=rng(seed))
            optimiser.step()

    weight = convolution(shape=(12, 8, 3, 3))
    optimiser = Muon([weight], lr=0.05)
    steps(weight, optimiser, range(3))
    resumed = torch.nn.Parameter(weight.detach().clone())
    successor = Muon([resumed], lr=1.0)
    successor.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    steps(weight, optimiser, range(3, 6))
    steps(resumed, successor, range(3, 6))
    assert torch.equal(weight, resumed)
