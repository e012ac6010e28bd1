from dataclasses import replace

import pytest
import torch

from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.simulation import Simulation


@pytest.mark.parametrize("observer", ["minmax", "percentile", "crops", "mse"])
def test_every_point_has_a_range_that_holds_zero(student, calibration, observer):
    ranges = find_ranges(student, calibration, observer)
    assert list(ranges) == Simulation(student).points
    assert all(low <= 0 <= high for low, high in ranges.values())
    assert ranges["input"] == (0.0, 1.0)


def test_ranges_hold_every_prompt_not_only_those_that_were_selected(student, calibration):
    low, high = find_ranges(student, calibration, "mse")["encoder.0.prompt:shift"]
    shift = student.encoder[0].shift_NC
    assert low == pytest.approx(float(shift.detach().min()))
    assert high == pytest.approx(float(shift.detach().max()))


def test_what_a_relu_drops_may_saturate(student, calibration):
    """Clipping to the ranges changes nothing behind the ReLU, and they are narrower."""
    ranges = find_ranges(student, calibration, "minmax")
    block = student.encoder[0]
    narrower = 0
    with torch.no_grad():
        for x in calibration.crops:
            w = student.route(x)[:, 0]
            scale = (1 + w @ block.scale_NC)[:, :, None, None]
            shift = (w @ block.shift_NC)[:, :, None, None]
            h = block.expand(student.head(torch.nn.functional.pixel_unshuffle(x, 2)))
            low, high = ranges["encoder.0.expand"]
            clipped = torch.relu(h.clamp(low, high) * scale + shift)
            torch.testing.assert_close(clipped, torch.relu(h * scale + shift), atol=1e-5, rtol=0)
            narrower += int(low > h.min() or high < h.max())
            low, high = ranges["encoder.0.prompt:product"]
            clipped = torch.relu((h * scale).clamp(low, high) + shift)
            torch.testing.assert_close(clipped, torch.relu(h * scale + shift), atol=1e-5, rtol=0)
    assert narrower


def test_no_crop_is_clipped_for_being_unlike_the_others(student, calibration, monkeypatch):
    """One bright crop among many: all that it shows is rare among all values."""
    monkeypatch.setattr("cpl_edge.quantize.ranges.KEPT", 0.99)
    dim = [calibration.crops[0] * 0.01] * 150
    shown = replace(calibration, crops=[*dim, torch.ones_like(dim[0])], degradations=["rain"] * 151)
    pooled = find_ranges(student, shown, "percentile")
    by_crop = find_ranges(student, shown, "crops")
    widest = find_ranges(student, shown, "minmax")

    def width(ranges):
        low, high = ranges["head"]
        return high - low

    assert width(pooled) < 0.7 * width(by_crop)
    assert width(by_crop) <= width(widest)
