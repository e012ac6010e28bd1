import copy

import pytest
import torch

from cpl_edge.quantize.balance import balance
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import Simulation, sqnr


@torch.no_grad()
def restored(student, x):
    return student.restore(x, student.route(x))


@pytest.fixture(scope="module")
def uneven(student):
    """Channels whose scales and shifts differ a hundredfold, at the same function's worth."""
    changed = copy.deepcopy(student)
    with torch.no_grad():
        for block in (*changed.encoder, *changed.middle, *changed.decoder):
            factor = torch.logspace(-1, 1, len(block.expand.bias))
            block.expand.weight.div_(factor[:, None, None, None])
            block.expand.bias.div_(factor)
            block.scale_NC.add_(1).mul_(factor).sub_(1)
    return changed


@pytest.fixture(scope="module")
def balanced(uneven, calibration):
    return balance(uneven, calibration)


def test_balancing_changes_no_output(uneven, balanced, calibration):
    assert not torch.equal(balanced.encoder[0].expand.weight, uneven.encoder[0].expand.weight)
    for x in calibration.crops:
        torch.testing.assert_close(restored(balanced, x), restored(uneven, x), atol=2e-5, rtol=0)
    for w_N in torch.eye(15):  # prompts that no crop selected as well
        w, x = w_N[None, None], calibration.crops[0]
        with torch.no_grad():
            found, expected = balanced.restore(x, w), uneven.restore(x, w)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_balancing_costs_less_rounding_noise(uneven, balanced, calibration):
    def quality(network):
        ranges = find_ranges(network, calibration, "percentile")
        simulation = Simulation(network, ranges=ranges)
        exact = [restored(uneven, x) - x for x in calibration.crops]
        pairs = zip(calibration.crops, strict=True)
        return sqnr(exact, [simulation.run(x, network.route(x)) - x for (x,) in pairs])

    assert quality(balanced) > quality(uneven) + 3


def test_pinned_blocks_have_nothing_to_balance(student, calibration):
    pinned = student.pin(torch.eye(15)[4])
    same = balance(pinned, calibration)
    for name, value in pinned.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)


def test_the_student_that_is_balanced_stays_as_it_was(student, calibration):
    before = copy.deepcopy(student.state_dict())
    balance(student, calibration)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
