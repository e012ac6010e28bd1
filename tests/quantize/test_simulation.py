import pytest
import torch

from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import (
    Simulation,
    round_activations,
    round_weights,
    sqnr,
)


@torch.no_grad()
def restored(student, x):
    return student.restore(x, student.route(x))


def test_without_rounding_it_is_the_student(student, calibration):
    for network in (student, student.pin(torch.eye(15)[0])):
        for x in calibration.crops[:2]:
            found = Simulation(network).run(x, network.route(x), rounding=False)
            torch.testing.assert_close(found, restored(network, x), atol=1e-6, rtol=0)


def test_more_bits_come_closer(student, calibration):
    ranges = find_ranges(student, calibration, "minmax")
    x = calibration.crops[0]
    expected = restored(student, x)
    quality = []
    for bits in (4, 8, 16):
        found = Simulation(student, bits, ranges=ranges).run(x, student.route(x))
        quality.append(sqnr([expected], [found]))
    assert quality[0] < quality[1] < quality[2]
    assert quality[1] > 20


def test_a_spared_site_is_not_rounded(student, calibration):
    ranges = find_ranges(student, calibration, "minmax")
    sites = Simulation(student).sites
    exact = Simulation(student, exact=frozenset(sites), ranges=ranges)
    x = calibration.crops[0]
    torch.testing.assert_close(
        exact.run(x, student.route(x)), restored(student, x), atol=1e-6, rtol=0
    )


def test_sites_are_modules_of_the_student(student):
    sites = Simulation(student).sites
    assert sites[:3] == ["input", "head", "encoder.0.expand"]
    assert "router" not in sites
    modules = dict(student.named_modules())
    made = [s for s in sites if s.split(".")[-1] not in ("input", "prompt", "sum", "skip")]
    assert all(site in modules for site in made)


@pytest.mark.parametrize("bits", [8, 16])
def test_rounding_hits_the_ends_and_zero(bits):
    values = torch.tensor([-1.0, -0.5, 0.0, 2.0, 3.0])
    found = round_activations(values, -1.0, 3.0, bits)
    step = 4 / (2**bits - 1)
    assert found[2] == 0
    torch.testing.assert_close(found, values, atol=step / 2 + 1e-6, rtol=0)
    assert round_activations(torch.tensor([9.0]), -1.0, 3.0, bits) < 3 + step


def test_weights_round_by_output_channel():
    weight = torch.tensor([[1.0, 0.5], [0.01, 0.003]])[:, :, None, None]
    found = round_weights(weight)
    torch.testing.assert_close(found[1], weight[1], atol=0.01 / 127, rtol=0)
    assert torch.equal(found[0, 0], weight[0, 0])
