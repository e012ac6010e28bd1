"""Scales of integers stay where kernels take them, and nothing changes where they already are."""

import copy

import pytest
import torch

from cpl_edge.quantize.admissible import COARSEST, FINEST, admissible, operators
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import Simulation

PINNED = torch.eye(15)[4]


def silent(student):
    """Pinned, with a block whose ReLU lets nothing through, as trained students have."""
    changed = copy.deepcopy(student).pin(PINNED)
    with torch.no_grad():
        changed.middle[0].expand.bias.fill_(-100)
    return changed


def ratios(student, ranges):
    """Kind of each operator, and the ratio of each thing it reads to what it makes."""

    def scale(point):
        low, high = ranges[point]
        return (high - low) / 255

    weights = {n: float(p.abs().max()) / 127 for n, p in student.state_dict().items()}
    for point, reads, kind in operators(Simulation(student).points):
        if scale(point) == 0:
            yield kind, float("inf")
        elif kind == "conv":
            yield kind, scale(reads[0]) * weights[f"{point}.weight"] / scale(point)
        elif kind == "mul":
            yield kind, scale(reads[0]) * scale(reads[1]) / scale(point)
        else:
            yield from ((kind, scale(read) / scale(point)) for read in reads)


def test_a_silent_block_gets_a_range_that_kernels_take(student, calibration):
    network = silent(student)
    found = find_ranges(network, calibration, "percentile")
    assert found["middle.0.expand"] == (0.0, 0.0)
    assert max(ratio for _, ratio in ratios(network, found)) >= 256
    ranges = admissible(network, found)
    assert all(ratio <= COARSEST * 1.001 for _, ratio in ratios(network, ranges))
    assert all(ratio >= FINEST * 0.999 for kind, ratio in ratios(network, ranges) if kind == "add")
    for point, (low, high) in ranges.items():
        assert low <= found[point][0]
        assert high >= found[point][1]


@pytest.mark.parametrize("quiet", [1e-6, 0.0])
def test_a_branch_too_quiet_for_its_sum_is_widened(student, calibration, quiet):
    network = copy.deepcopy(student).pin(PINNED)
    with torch.no_grad():
        network.encoder[0].project.weight.mul_(quiet)
        network.encoder[0].project.bias.mul_(quiet)
    found = find_ranges(network, calibration, "minmax")
    ranges = admissible(network, found)
    assert all(ratio >= FINEST * 0.999 for kind, ratio in ratios(network, ranges) if kind == "add")
    x = calibration.crops[0]
    with torch.no_grad():
        plain = network.restore(x, network.route(x))
    rounded = Simulation(network, ranges=ranges).run(x, network.route(x))
    assert float((plain - rounded).abs().max()) < 0.1


def test_ordinary_ranges_stay_as_they_are(student, calibration):
    found = find_ranges(student, calibration, "percentile")
    assert admissible(student, found) == found


def test_operators_read_what_the_student_reads(student):
    steps = {point: (reads, kind) for point, reads, kind in operators(Simulation(student).points)}
    assert steps["head"] == (("input",), "conv")
    prompt = "encoder.0.prompt"
    assert steps[f"{prompt}:product"] == (("encoder.0.expand", f"{prompt}:scale"), "mul")
    assert steps[f"{prompt}:sum"] == ((f"{prompt}:product", f"{prompt}:shift"), "add")
    assert steps["encoder.0.sum"] == (("head", "encoder.0.project"), "add")
    assert steps["down"] == (("encoder.0.sum",), "conv")
    assert steps["skip"] == (("up", "encoder.0.sum"), "add")
    assert steps["decoder.0.sum"] == (("skip", "decoder.0.project"), "add")
    assert steps["sum"] == (("input", "tail"), "add")
