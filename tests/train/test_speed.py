import pytest
import torch

from cpl_edge.train.speed import running_mean, set_precision


def test_the_running_mean_follows_at_a_rising_pace():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = running_mean(layer, decay=0.5)
    values = [1.0, 3.0, 3.0, 3.0]
    seen = []
    for value in values:
        layer.weight.data.fill_(value)
        average.update_parameters(layer)
        seen.append(average.module.weight.item())
    # The first is copied; then 2/11, 3/12, 4/13 of the old are kept.
    expected = [1.0]
    for value, keep in zip(values[1:], (2 / 11, 3 / 12, 4 / 13), strict=True):
        expected.append(keep * expected[-1] + (1 - keep) * value)
    assert seen == pytest.approx(expected)


def test_in_the_long_run_the_decay_is_the_recipes():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = running_mean(layer, decay=0.5)
    average.n_averaged.fill_(1000)
    before = average.module.weight.item()
    layer.weight.data.fill_(5.0)
    average.update_parameters(layer)
    assert average.module.weight.item() == pytest.approx((before + 5) / 2)


def test_a_cpu_has_no_matrix_units_to_set():
    before = torch.get_float32_matmul_precision()
    set_precision("tf32", torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == before
