"""Small students, and exports of them for each target, shared by all tests of this folder."""

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


@pytest.fixture(scope="session")
def owning() -> Student:
    """A student of three degradations that have some parts each for itself, all of them unlike.

    Its router is not sure of anything: on some crops each of the three is selected.
    """
    from cpl_edge.export.crops import make_crops

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        config = StudentConfig(
            widths=(8, 16),
            blocks=(1, 1, 1),
            degradations=("haze", "noise", "blur"),  # in no order that could come by chance
            own=("head", "encoder", "tail"),
        )
        student = Student(config)
        for name, parameter in student.named_parameters():
            if name.endswith(("project.weight", "shift_NC", "tail.bias", "project.bias")):
                parameter.normal_(0, 0.1)
            if name.endswith("tail.weight"):
                parameter.mul_(5)
        student.router.head.weight.mul_(10)
        crops = make_crops(config.degradations, SIZE)
        names_D = torch.cat([student.logits(crop.x_BCHW)[:, 0, :3] for crop in crops]).mean(0)
        student.router.head.bias[:3] -= names_D
    return student.eval()


@pytest.fixture(scope="session")
def exported_each(owning: Student, tmp_path_factory: pytest.TempPathFactory):
    """``exported_each("litert", "w8a8")``: a build of that student, by the quickest recipe."""
    from cpl_edge.export.build import Outcome, export
    from cpl_edge.export.recipe import read_recipes

    place = tmp_path_factory.mktemp("owning")
    weights = place / "three.safetensors"
    save_student(owning, weights)
    made: dict[tuple[str | None, ...], Outcome] = {}

    def build(target: str, precision: str = "fp32", **asked: str | None) -> Outcome:
        key = (target, precision, *asked.values())
        if key not in made:
            (recipe,) = read_recipes(target, precision=precision, size="64x72", **asked)
            if precision != "fp32":
                activations = "dynamic" if precision == "dynamic" else "int8"
                toml = place / f"{target}-{precision}.toml"
                toml.write_text(
                    f'target = "{target}"\nprecision = "{precision}"\nweights = "int8"\n'
                    f'activations = "{activations}"\nobserver = "minmax"\n'
                    'pinned_observer = "minmax"\nkeep_float = ["tail"]\n[calibration]\ncrops = 2\n',
                    encoding="utf-8",
                )
                recipe = recipe.model_copy(update={"quantize": str(toml)})
            (made[key],) = export([recipe], str(weights), place / "builds", keep_refused=True)
        return made[key]

    return build
