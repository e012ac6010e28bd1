"""Figures of a runtime that is wrong in a known way."""

import math

import numpy as np
import pytest
import torch

from cpl_edge.export import measurement
from cpl_edge.export.crops import make_crops
from cpl_edge.export.measurement import PERFECT_DB, _difference, measure, psnr, reference


class Fake:
    """The student with an error added to what it restores, and another selection if asked to."""

    def __init__(
        self, student, error=0.0, shift=0, entry_points=("forward", "route", "restore"), own=False
    ):
        self.student, self.error, self.shift = student, error, shift
        self.info = type("Info", (), {"entry_points": entry_points, "own": own})()
        self.closed = False

    def run(self, name, *arrays):
        tensors = [torch.from_numpy(array) for array in arrays]
        with torch.inference_mode():
            if name == "route":
                w = np.roll(self.student.route(*tensors).numpy(), 3 * self.shift, -1)
                return w, self.student.logits(*tensors).numpy()
            entry = self.student if name == "forward" else self.student.restore
            return ((entry(*tensors) + self.error).numpy(),)

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def crops(student):
    return make_crops(student.config.degradations, (64, 72))


@pytest.fixture
def measured(student, crops, monkeypatch):
    def run(fake, pinned_N=None):
        monkeypatch.setattr(measurement, "open_runtime", lambda path: fake)
        result = measure("model", student, crops, pinned_N)
        assert fake.closed
        return result

    return run


def test_the_student_itself_is_perfect(measured, student):
    result = measured(Fake(student))
    assert len(result.rows) == 20
    for row in result.rows:
        assert (row.max_abs, row.parity_db, row.residual_db) == (0, PERFECT_DB, PERFECT_DB)
        assert row.drop == 0
        assert row.problem == ""
        assert row.selected[0] == row.selected[1]
    assert set(result.latency_ms) == {"forward", "route", "restore"}
    assert set(result.quality()) == set(student.config.degradations)
    assert all(value["drop_worst"] == 0 for value in result.quality().values())


def test_a_constant_error_has_its_decibels(measured, student, crops):
    for row, crop in zip(measured(Fake(student, error=0.01)).rows, crops, strict=True):
        assert row.max_abs == pytest.approx(0.01, rel=1e-3)
        assert row.parity_db == pytest.approx(40, abs=0.01)
        residual = reference(student, crop.x_BCHW).y_BCHW - crop.x_BCHW.numpy()
        expected = 40 + 20 * math.log10(np.abs(residual).max())
        assert row.residual_db == pytest.approx(expected, abs=0.01)
        assert row.drop == row.student_db - row.build_db != 0


def test_a_function_that_no_router_selects_is_measured_too(measured, student, crops):
    """Of a file with a function for each degradation; here one of them is wrong."""
    wrong = 1

    class OneIsWrong(Fake):
        def run(self, name, *arrays):
            outputs = super().run(name, *arrays)
            if name == "restore" and arrays[1].argmax() // 3 == wrong:
                outputs = (outputs[0] + 0.1,)
            return outputs

    entries = ("route", "restore")
    rows = measured(OneIsWrong(student, entry_points=entries, own=True)).rows
    kinds = student.config.degradations
    told = [row for row in rows if row.told]
    assert (
        len(told)
        == sum(kinds[row.selected[1]] != row.degradation for row in rows[:] if not row.told)
        > 0
    )
    mine = [row for row in told if row.degradation == kinds[wrong]]
    assert mine
    assert all(row.parity_db == pytest.approx(20, abs=0.01) for row in mine)
    assert all(row.parity_db == PERFECT_DB for row in told if row not in mine)
    assert len(measured(Fake(student, entry_points=entries)).rows) == len(crops)


def test_another_selection_is_noticed(measured, student):
    rows = measured(Fake(student, shift=1)).rows
    assert all((row.selected[1] + 1) % 5 == row.selected[0] for row in rows)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (math.nan, "forward gives values that are not finite; restore gives"),
        (np.zeros((2, 1, 1, 1), np.float32), "forward gives shapes"),
        (np.float64(0), "forward gives ['float64']"),
    ],
)
def test_unusable_outputs_are_named(measured, student, error, problem):
    fake = Fake(student)
    honest = fake.run
    fake.run = lambda name, *arrays: (
        honest(name, *arrays) if name == "route" else (honest(name, *arrays)[0] + error,)
    )
    row = measured(fake).rows[0]
    assert row.problem.startswith(problem)
    assert row.max_abs == math.inf
    assert row.parity_db == 0


def test_a_file_that_opens_but_does_not_run_is_a_problem_not_a_crash(measured, student):
    fake = Fake(student, entry_points=("forward",))

    def refuse(name, *arrays):
        raise RuntimeError("failed to create XNNPACK runtime\nNode 29")

    fake.run = refuse
    result = measured(fake)
    assert result.rows[0].problem == "forward does not run: failed to create XNNPACK runtime"
    assert result.rows[0].max_abs == math.inf
    assert result.latency_ms == {}


def test_a_pinned_file_is_compared_with_its_prompt(measured, student):
    w_N = torch.eye(15)[7]
    pinned = student.pin(w_N)
    fake = Fake(pinned, entry_points=("forward",))
    assert max(row.max_abs for row in measured(fake, w_N).rows) < 1e-5
    assert max(row.max_abs for row in measured(fake).rows) > 1e-2


def test_psnr():
    zeros, ones = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    assert psnr(zeros, zeros) == PERFECT_DB
    assert psnr(zeros, ones) == 0
    assert psnr(zeros, 0.1 * ones) == pytest.approx(20)
    assert psnr(zeros, 0.1 * ones, peak=0.1) == pytest.approx(0, abs=1e-5)
    assert psnr(zeros, ones, peak=0.0) == 0


def test_differences_are_absolute_for_images_and_relative_for_large_logits():
    image = np.array([0.0, 1.0], np.float32)
    assert _difference(image + np.float32(0.25), image) == 0.25
    logits = np.array([-400.0, 100.0], np.float32)
    assert _difference(logits + 1, logits) == pytest.approx(1 / 200)
