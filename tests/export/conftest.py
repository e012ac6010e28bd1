"""A small student, and one export of it for each target, shared by all tests of this folder."""

from pathlib import Path

import pytest
import torch

from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import save_student

SIZE = (64, 72)
"""Height and width of the small exports: not square, so that swapped sides show."""


def small_student(seed: int = 0) -> Student:
    """A student with random weights that uses all of its parts, which new ones do not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(StudentConfig(widths=(8, 16), blocks=(1, 1, 1)))
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                if name.endswith(("project.weight", "shift_NC", "tail.bias", "project.bias")):
                    parameter.normal_(0, 0.1)
            student.router.head.weight.mul_(10)
            student.tail.weight.mul_(5)
    return student.eval()


@pytest.fixture(scope="session")
def student() -> Student:
    return small_student()


@pytest.fixture(scope="session")
def weights(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("student") / "tiny.safetensors"
    save_student(student, path)
    return path


@pytest.fixture(scope="session")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory):
    """``exported("litert", routing="auto")``: that build, made at the first call."""
    from cpl_edge.export.build import Outcome, export
    from cpl_edge.export.recipe import read_recipes

    out = tmp_path_factory.mktemp("builds")
    made: dict[tuple[tuple[str, str | None], ...], Outcome] = {}

    def build(target: str, **asked: str | None) -> Outcome:
        asked = {"routing": "auto"} | asked
        key = (("target", target), *sorted(asked.items()))
        if key not in made:
            size = "x".join(map(str, SIZE))
            recipes = read_recipes(target, size=size, **asked)
            (made[key],) = export(recipes, str(weights), out)
        return made[key]

    return build
