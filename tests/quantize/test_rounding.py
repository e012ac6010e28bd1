import pytest
import torch

from cpl_edge.quantize.rounding import round_activations, round_weights


@pytest.mark.parametrize("bits", [8, 16])
def test_rounding_hits_the_ends_and_zero(bits):
    values = torch.tensor([-1.0, -0.5, 0.0, 2.0, 3.0])
    found = round_activations(values, -1.0, 3.0, bits)
    step = 4 / (2**bits - 1)
    assert found[2] == 0
    torch.testing.assert_close(found, values, atol=step / 2 + 1e-6, rtol=0)
    assert round_activations(torch.tensor([9.0]), -1.0, 3.0, bits) < 3 + step


def test_a_range_is_widened_to_hold_zero():
    assert round_activations(torch.tensor([0.0]), 1.0, 2.0) == 0
    assert round_activations(torch.tensor([0.0]), -2.0, -1.0) == 0


def test_trained_ends_round_as_fixed_ones_do():
    values = torch.linspace(-2, 4, 1000)
    fixed = round_activations(values, -1.0, 3.0)
    trained = round_activations(values, torch.tensor(-1.0), torch.tensor(3.0))
    assert torch.equal(fixed, trained)


def test_gradients_pass_inside_and_stop_beyond():
    values = torch.tensor([-5.0, -0.5, 0.3, 2.0, 7.0], requires_grad=True)
    round_activations(values, torch.tensor(-1.0), torch.tensor(3.0)).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


def test_an_end_follows_the_values_that_it_clips():
    low, high = (torch.tensor(end, requires_grad=True) for end in (-1.0, 3.0))
    values = torch.tensor([-5.0, 7.0, 8.0])
    round_activations(values, low, high).sum().backward()
    assert (low.grad.item(), high.grad.item()) == pytest.approx((1.0, 2.0))


def test_between_the_ends_their_gradient_is_that_of_the_step():
    """LSQ: d round(v / s) s / ds = round(v / s) - v / s, and s = (high - low) / 255."""
    low, high = (torch.tensor(end, requires_grad=True) for end in (-1.0, 3.0))
    values = torch.tensor([0.30, 1.234, -0.7])
    rounded = round_activations(values, low, high)
    rounded.sum().backward()
    step = 4 / 255
    expected = float(((rounded.detach() - values) / step).sum()) / 255
    assert high.grad.item() == pytest.approx(expected, rel=1e-4)
    assert low.grad.item() == pytest.approx(-expected, rel=1e-4)


def test_weights_round_by_output_channel():
    weight = torch.tensor([[1.0, 0.5], [0.01, 0.003]])[:, :, None, None]
    found = round_weights(weight)
    torch.testing.assert_close(found[1], weight[1], atol=0.01 / 127, rtol=0)
    assert torch.equal(found[0, 0], weight[0, 0])


def test_weights_round_to_themselves_and_pass_their_gradient():
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    once = round_weights(weight)
    torch.testing.assert_close(round_weights(once), once, atol=1e-6, rtol=0)
    weight.requires_grad_()
    (round_weights(weight) * 3).sum().backward()
    assert torch.equal(weight.grad, torch.full_like(weight, 3))
