import pytest
import torch

from cpl_edge.quantize.qat import RoundingStudent
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import Simulation


@pytest.fixture(name="ranges", scope="module")
def calibrated(student, calibration):
    return find_ranges(student, calibration, "minmax")


@pytest.fixture(name="rounding")
def network(student, ranges):
    rounding = RoundingStudent(student, frozenset())
    rounding.set(student, ranges)
    return rounding


def test_it_starts_as_the_simulation(student, calibration, ranges, rounding):
    x = calibration.crops[0]
    w = student.route(x).detach()
    assert torch.equal(rounding.route(x).detach(), w)
    expected = Simulation(student, ranges=ranges).run(x, w)
    torch.testing.assert_close(rounding.restore(x, w).detach(), expected, atol=1e-6, rtol=0)
    assert list(rounding.ranges()) == list(ranges)
    for point, ends in rounding.ranges().items():
        assert ends == pytest.approx(ranges[point])


def test_weights_and_ranges_learn_and_the_router_does_not(student, calibration, rounding):
    x = calibration.crops[0]
    w = student.route(x).detach()
    rounding.restore(x, w).square().mean().backward()
    assert rounding.moves_P2.grad.abs().sum() > 0
    assert rounding.student.head.weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in rounding.student.router.parameters())
    assert student.head.weight.grad is None  # the fp32 student is another


def test_ends_move_as_shares_of_themselves(ranges, rounding):
    with torch.no_grad():
        rounding.moves_P2.fill_(0.01)
    moved = rounding.ranges()
    factor = torch.tensor(0.1).exp().item()
    low, high = ranges["encoder.0.sum"]
    assert moved["encoder.0.sum"] == pytest.approx((low * factor, high * factor))
    assert moved["input"] == (0.0, 1.0)


def test_prompts_are_always_held(rounding):
    with torch.no_grad():
        rounding.student.encoder[0].shift_NC[3, 2] = 77
    assert rounding.ranges()["encoder.0.prompt:shift"][1] == 77


def test_ranges_can_be_held(student, calibration, ranges):
    rounding = RoundingStudent(student, frozenset(), pace=0)
    rounding.set(student, ranges)
    x = calibration.crops[0]
    rounding.restore(x, student.route(x).detach()).square().mean().backward()
    assert rounding.moves_P2.grad is None
