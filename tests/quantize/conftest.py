"""A small student whose prompts scale by factors of both signs, as trained ones do."""

from collections.abc import Callable

import pytest
import torch

from cpl_edge.export.build import Outcome, export
from cpl_edge.export.recipe import read_recipes
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import save_student
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


@pytest.fixture(scope="session")
def built(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """Exports the student on demand, each build once; refused ones are kept."""
    out = tmp_path_factory.mktemp("builds")
    weights = tmp_path_factory.mktemp("student") / "tiny.safetensors"
    save_student(student, weights)
    made = {}

    def build(target, precision, routing="auto", degradation=None):
        key = (target, precision, routing)
        if key not in made:
            recipes = read_recipes(
                target, precision=precision, routing=routing, degradation=degradation, size="64x72"
            )
            (made[key],) = export(recipes, str(weights), out, keep_refused=True)
        return made[key]

    return build
