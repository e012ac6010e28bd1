import copy

import torch

from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.rounding import round_activations, round_weights
from cpl_edge.quantize.simulation import Simulation, sqnr


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
    assert sites[:2] == ["head", "encoder.0.expand"]
    assert "router" not in sites
    modules = dict(student.named_modules())
    made = [s for s in sites if s.split(".")[-1] not in ("prompt", "sum", "skip")]
    assert all(site in modules for site in made)


def test_an_operator_that_rounds_reads_rounded_values(student, calibration):
    """Keeping a module in float spares its weights, and not what the next one reads of it."""
    ranges = find_ranges(student, calibration, "minmax")
    x, seen = calibration.crops[0], {}
    sites = Simulation(student).sites
    only = [site for site in sites if site != "encoder.0.expand"]
    simulation = Simulation(student, exact=frozenset(only), ranges=ranges)
    simulation.observe = lambda point, value, needed: seen.update({point: value.clone()})
    w = student.route(x)
    found = simulation.run(x, w)
    assert not torch.equal(found, restored(student, x))
    head = torch.nn.functional.conv2d(
        torch.nn.functional.pixel_unshuffle(x, 2), student.head.weight, student.head.bias, padding=1
    )
    torch.testing.assert_close(seen["head"], head.detach())
    expand = student.encoder[0].expand
    read = round_activations(head.detach(), *ranges["head"])
    expected = torch.nn.functional.conv2d(
        read, round_weights(expand.weight.detach()), expand.bias.detach(), padding=1
    )
    torch.testing.assert_close(seen["encoder.0.expand"], expected, atol=1e-5, rtol=1e-5)


def test_it_passes_gradients_to_every_weight(student, calibration):
    student = copy.deepcopy(student).requires_grad_(True)
    ranges = find_ranges(student, calibration, "minmax")
    x = calibration.crops[0]
    w = student.route(x).detach()
    Simulation(student, ranges=ranges).restore(x, w).square().mean().backward()
    for name, parameter in student.named_parameters():
        if not name.startswith("router"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_a_pinned_student_rounds_less(student, calibration):
    index = student.config.degradations.index(calibration.degradations[0])
    w = torch.zeros(student.config.prompts)
    w[index * student.config.levels] = 1
    x = calibration.crops[0]
    pinned = student.pin(w)
    noise = []
    for network in (student, pinned):
        ranges = find_ranges(network, calibration, "minmax")
        with torch.no_grad():
            exact = network.restore(x, w[None, None])
        noise.append(sqnr([exact], [Simulation(network, ranges=ranges).run(x, w[None, None])]))
    assert noise[1] > noise[0]
