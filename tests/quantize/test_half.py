"""fp16 emulated: rounding, magnitudes, and a network that is scaled until it overflows."""

from dataclasses import replace

import pytest
import torch

from cpl_edge.errors import CplEdgeError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.figures import Judge
from cpl_edge.quantize.half import LARGEST, HalfStudent, examine_student, show
from cpl_edge.quantize.recipe import CalibrationSet

SIZE = (64, 64)


@pytest.fixture(scope="module")
def crops():
    chosen = CalibrationSet(crops=1, degradations=("noise", "rain"))
    return make_calibration(chosen, ("noise", "rain"), SIZE, judging=True)


def make_student():
    """Random, with blocks that do something: as initialised they are the identity."""
    torch.manual_seed(0)
    config = StudentConfig(
        widths=(8, 12), blocks=(1, 1, 1), degradations=("noise", "rain"), levels=2
    )
    student = Student(config).eval().requires_grad_(False)
    for name, parameter in student.named_parameters():
        if name.endswith("project.weight"):
            parameter.normal_(0, 0.05)
    return student


@pytest.fixture
def student():
    return make_student()


def scaled(student, factor):
    """The same function, with larger values between the head and what reads it."""
    block = student.encoder[0]
    block.expand.weight.mul_(factor)
    block.expand.bias.mul_(factor)
    block.shift_NC.mul_(factor)
    block.project.weight.div_(factor)
    return student


@pytest.mark.parametrize("half_sums", [False, True])
def test_a_plain_student_loses_little_and_says_which_module_is_largest(student, crops, half_sums):
    report = examine_student(student, Judge(student, crops), half_sums)
    assert 50 < report.parity_db < 110  # rounding shows, and is small
    assert report.overflow is None
    assert report.nearest in report.largest
    assert {"head", "encoder.0.expand", "middle.0", "tail", "router.conv1", "router"} <= set(
        report.largest
    )
    assert 0.1 < report.largest["head"] < 100
    assert set(report.drops) == {"noise", "rain"}


def test_sums_in_half_precision_lose_more(student, crops):
    judge = Judge(student, crops)
    single, half = (examine_student(student, judge, sums) for sums in (False, True))
    assert half.parity_db < single.parity_db
    assert half.largest["encoder.0.expand"] >= 0.99 * single.largest["encoder.0.expand"]


def test_a_network_scaled_until_it_overflows_is_caught_and_its_module_named(student, crops, capsys):
    exact = Judge(student, crops)
    reached = examine_student(student, exact).largest["encoder.0.expand"]
    large = scaled(make_student(), 4 * LARGEST / reached)
    judge = Judge(large, crops)
    torch.testing.assert_close(judge.expected[0], exact.expected[0], atol=1e-4, rtol=1e-4)
    report = examine_student(large, judge)
    assert report.overflow == report.nearest == "encoder.0.expand"
    assert report.largest["encoder.0.expand"] > LARGEST
    assert report.parity_db < 40
    with pytest.raises(
        CplEdgeError, match=r"encoder\.0\.expand reaches .* times the largest number of fp16"
    ):
        show(report)
    assert "encoder.0.expand" in capsys.readouterr().out


def test_an_accumulator_can_overflow_where_its_result_does_not(student, crops):
    """Large terms of both signs cancel; summed in their order they leave fp16 on the way."""
    head = student.head
    head.weight[0] = 9000.0
    head.weight[0, 6:] = -9000.0
    head.bias[0] = 0
    judge = Judge(student, replace(crops, crops=[torch.full_like(x, 0.9) for x in crops.crops]))
    whole, steps = (examine_student(student, judge, sums) for sums in (False, True))
    assert whole.largest["head"] < LARGEST < steps.largest["head"]
    assert (whole.overflow, steps.overflow) == (None, "head")


def test_the_router_stays_in_fp32(student, crops):
    half = HalfStudent(student)
    x_BCHW = crops.crops[0]
    assert torch.equal(half.logits(x_BCHW), student.logits(x_BCHW)[:, 0])
    y_BCHW = half.restore(x_BCHW, student.route(x_BCHW))
    assert torch.equal(y_BCHW, y_BCHW.half().float())
    before = {name: p.clone() for name, p in student.named_parameters()}
    assert all(torch.equal(before[name], p) for name, p in make_student().named_parameters())


def test_what_is_shown(student, crops, capsys):
    report = examine_student(student, Judge(student, crops))
    show(report)
    out = capsys.readouterr().out
    assert f"nearest to overflow: {report.nearest}" in out
    assert "sums in fp32" in out
    values = report.to_json()
    assert values["nearest"] == report.nearest
    assert values["shares"]["head"] == report.largest["head"] / LARGEST
