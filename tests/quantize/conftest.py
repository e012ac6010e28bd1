"""A small student whose prompts scale by factors of both signs, as trained ones do."""

import pytest
import torch

from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.quantize.calibration import Calibration, make_calibration
from cpl_edge.quantize.recipe import CalibrationSet

SIZE = (64, 72)


def small_student(seed: int = 0) -> Student:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(StudentConfig(widths=(8, 16), blocks=(1, 1, 1)))
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                if name.endswith(("project.weight", "tail.bias", "project.bias")):
                    parameter.normal_(0, 0.1)
                if name.endswith(("scale_NC", "shift_NC")):
                    parameter.normal_(0, 0.3)
            student.router.head.weight.mul_(10)
    return student.eval()


@pytest.fixture(scope="session")
def student() -> Student:
    return small_student()


@pytest.fixture(scope="session")
def calibration(student: Student) -> Calibration:
    return make_calibration(CalibrationSet(crops=2), student.config.degradations, SIZE)
