import numpy as np
import pytest
import torch

from cpl_edge.quantize.integers import Grid
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import Simulation, sqnr


def test_a_grid_has_256_values_and_zero_is_one():
    grid = Grid(-1.0, 3.0)
    assert grid.step == np.float32(4) / np.float32(255)
    assert grid.below == 64
    steps = grid.clip(torch.arange(-300.0, 300.0)).unique()
    assert len(steps) == 256
    assert 0 in steps
    assert grid.clip(torch.tensor([-9.0]), relu=True) == 0


def test_an_empty_range_is_not_divided_by():
    grid = Grid(0.0, 0.0)
    assert grid.step > 0
    assert grid.clip(torch.tensor([0.0])) == 0


@pytest.mark.parametrize("pinned", [False, True])
def test_integers_are_as_good_as_rounded_floats(student, calibration, pinned):
    network = student.pin(torch.eye(15)[4]) if pinned else student
    simulation = Simulation(network, ranges=find_ranges(network, calibration, "minmax"))
    exact, floats, integers = [], [], []
    for x in calibration.crops[:5]:
        w = network.route(x).detach()
        exact.append(simulation.run(x, w, rounding=False))
        floats.append(simulation.run(x, w))
        integers.append(simulation.run(x, w, integers=True))
    assert sqnr(exact, integers) == pytest.approx(sqnr(exact, floats), abs=1.0)


def test_every_value_is_on_its_grid(student, calibration):
    ranges = find_ranges(student, calibration, "minmax")
    x = calibration.crops[0]
    found = Simulation(student, ranges=ranges).run(x, student.route(x), integers=True)
    grid = Grid(*ranges["sum"])
    steps = found / float(grid.step)
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert len(found.unique()) <= 256


def test_what_stays_in_float_is_float(student, calibration):
    ranges = find_ranges(student, calibration, "minmax")
    exact = frozenset(Simulation(student).sites)
    x = calibration.crops[0]
    w = student.route(x).detach()
    found = Simulation(student, exact=exact, ranges=ranges).run(x, w, integers=True)
    torch.testing.assert_close(found, student.restore(x, w).detach(), atol=1e-6, rtol=0)
