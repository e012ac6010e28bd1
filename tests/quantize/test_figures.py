import pytest
import torch

from cpl_edge.quantize.figures import Judge, losses_table, psnr


def test_psnr_is_of_clipped_images():
    a = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(a, a) == 120
    assert psnr(a, a + 0.1) == pytest.approx(20, abs=1e-3)
    assert psnr(torch.full((1, 3, 4, 4), 1.5), torch.ones(1, 3, 4, 4)) == 120


def test_the_student_itself_loses_nothing(student, calibration):
    judge = Judge(student, calibration)
    losses = judge.losses(lambda x, w: student.restore(x, w).detach())
    assert list(losses) == list(student.config.degradations)
    assert all(found.each == pytest.approx([0, 0], abs=1e-5) for found in losses.values())
    assert judge.parity(lambda x, w: student.restore(x, w).detach()) > 100


def test_losses_name_the_mean_and_the_worst(student, calibration):
    judge = Judge(student, calibration)
    rain = calibration.crops[calibration.degradations.index("rain")]

    def spoilt(x, w):
        noise = 0.5 if x is rain else 0.0
        return student.restore(x, w).detach() + noise

    losses = judge.losses(spoilt)
    assert losses["noise"].worst == pytest.approx(0, abs=1e-5)
    assert losses["rain"].worst > 1
    assert losses["rain"].mean == pytest.approx(losses["rain"].worst / 2, abs=1e-5)
    assert judge.drop(spoilt) == losses["rain"].mean
    assert losses["rain"].to_json()["drop_worst"] == round(losses["rain"].worst, 4)


def test_the_table_has_a_row_for_each_degradation(student, calibration):
    losses = Judge(student, calibration).losses(lambda x, w: student.restore(x, w).detach())
    assert losses_table([("a", losses), ("b", losses)]).row_count == 5
