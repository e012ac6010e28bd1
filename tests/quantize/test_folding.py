import pytest
import torch

from cpl_edge.quantize.folding import equalise, one_sided
from cpl_edge.quantize.simulation import Simulation


@torch.no_grad()
def restored(student, x):
    return student.restore(x, student.route(x))


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_equalising_changes_no_output(student, calibration, strength):
    changed = equalise(student, calibration.crops, strength)
    assert not torch.equal(changed.head.weight, student.head.weight)
    for x in calibration.crops:
        torch.testing.assert_close(restored(changed, x), restored(student, x), atol=2e-5, rtol=0)


def test_equalised_channels_have_the_same_range(student, calibration):
    def spread(network):
        maxima = []
        seen = Simulation(network)
        seen.observe = lambda point, value, needed: (
            maxima.append(value.abs().amax((0, 2, 3))) if point == "encoder.0.prompt:sum" else None
        )
        for x in calibration.crops:
            seen.run(x, network.route(x), rounding=False)
        largest = torch.stack(maxima).amax(0)
        return float(largest.max() / largest.clamp(min=1e-3).min())

    assert spread(equalise(student, calibration.crops, 1.0)) < 0.5 * spread(student)


def test_one_sided_blocks_change_no_output(student, calibration):
    positive = equalise(student, calibration.crops[:1], 0.0)
    with torch.no_grad():
        for block in (positive.encoder[0], positive.decoder[0]):
            block.scale_NC.abs_()
    changed = one_sided(positive)
    assert isinstance(changed.encoder[0].expand, torch.nn.Sequential)
    assert isinstance(changed.middle[0].expand, torch.nn.Conv2d)  # some factors are negative
    for x in calibration.crops:
        torch.testing.assert_close(restored(changed, x), restored(positive, x), atol=2e-5, rtol=0)


def test_a_pinned_student_folds_too(student, calibration):
    pinned = student.pin(torch.eye(15)[4])
    changed = one_sided(equalise(pinned, calibration.crops, 0.5))
    for x in calibration.crops[:3]:
        torch.testing.assert_close(restored(changed, x), restored(pinned, x), atol=2e-5, rtol=0)
