"""Training to be rounded, on the smallest student that has prompts."""

import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.quantize.checkpoint import digest, read_quantized
from cpl_edge.train.loop import Trainer
from cpl_edge.train.qat import QatTask
from cpl_edge.train.recipe import QatRecipe, Stage

STAGE = Stage(crop=32, batch=5, context=48)


@pytest.fixture(name="bank", scope="module")
def photos():
    return ImageBank([image[:160, :160] for _, image in bundled_photos()][:3])


@pytest.fixture(name="weights", scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    student = Student(StudentConfig(widths=(8, 16), blocks=(1, 1, 1)))
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.endswith(("project.weight", "scale_NC", "shift_NC", "tail.weight")):
                parameter.normal_(0, 0.2)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_student(student, path)
    return path


@pytest.fixture(name="make")
def maker(weights, bank):
    def make(**values):
        plain = {"network": "qat", "student": str(weights), "optimiser": "adamw", "steps": 30,
                 "lr": 1e-3, "warmup": 0.0, "clean": 0.0, "stages": [STAGE]}  # fmt: skip
        task = QatTask(QatRecipe(**{**plain, **values}))
        task.start(bank)
        return task

    return make


def distance(task, bank):
    """Mean distance from the fp32 student's output, on the same crops every time."""
    generator = torch.Generator().manual_seed(5)
    batch = bank.degraded(task.degradations, 40, 48, generator)
    with torch.no_grad():
        return float(task(*batch, 32, generator)[1]["output"])


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_rounding_costs_less_when_it_was_trained(make, bank, tmp_path, optimiser):
    task = make(optimiser=optimiser)
    before = distance(task, bank)
    assert Trainer(task, bank, None, tmp_path).run()
    assert distance(task, bank) < 0.9 * before


def test_it_writes_a_checkpoint_that_export_reads(make, bank, weights, tmp_path):
    task = make(steps=2)
    assert Trainer(task, bank, None, tmp_path).run()
    path = tmp_path / "student.safetensors"
    stored = read_quantized(path)
    assert (stored.made, stored.source) == ("qat", digest(weights))
    assert stored.ranges == task.network.ranges()
    assert stored.calibration["count"] == 200
    found, before = load_student(path), load_student(weights)
    assert torch.equal(found.head.weight, task.network.student.head.weight)
    assert not torch.equal(found.head.weight, before.head.weight)
    assert torch.equal(found.router.head.weight, before.router.head.weight)
    assert json.loads((tmp_path / "student.json").read_text())["recipe"]["precision"] == "w8a8"


def test_a_resumed_run_is_the_same_run(make, bank, tmp_path):
    whole = make(steps=4)
    Trainer(whole, bank, None, tmp_path / "whole").run()
    first = Trainer(make(steps=4), bank, None, tmp_path / "parts")
    for _ in range(2):
        first.train_step()
    first.save()
    second = make(steps=4)
    assert Trainer(second, bank, None, tmp_path / "parts").run()
    assert second.network.ranges() == whole.network.ranges()
    assert torch.equal(second.network.student.tail.weight, whole.network.student.tail.weight)
    assert second.ratio == whole.ratio


def test_an_error_that_grows_is_divergence(make):
    task = make()
    for _ in range(200):
        task._check(1.2)  # as large as rounding makes it
    with pytest.raises(CplEdgeError, match="diverges: the rounded student's error is 2"):
        for _ in range(200):
            task._check(2.5)


def test_divergence_stops_the_run_with_what_to_do(make, bank, tmp_path):
    task = make()
    with torch.no_grad():
        task.network.student.tail.weight.mul_(30)
    with pytest.raises(CplEdgeError, match=r"diverges.*lower 'lr'"):
        Trainer(task, bank, None, tmp_path).run()
    assert not (tmp_path / "student.safetensors").exists()


def test_values_that_are_not_finite_stop_it(make, bank, tmp_path):
    task = make()
    with torch.no_grad():
        task.network.student.head.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(CplEdgeError, match="the loss is nan"):
        Trainer(task, bank, None, tmp_path).run()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantize": "litert-w8"}, "cannot be trained: it must have activations"),
        ({"quantize": "litert-w8a16"}, "cannot be trained: it must have activations"),
        ({"quantize": "litert-w8a8-qta"}, "did you mean 'litert-w8a8-qat'"),
        ({"student": "missing.safetensors"}, "does not exist"),
    ],
)
def test_a_recipe_that_cannot_be_trained(weights, values, message):
    with pytest.raises(UserError, match=message):
        QatTask(QatRecipe(**{"network": "qat", "student": str(weights), **values}))


def test_a_student_of_several_networks_is_not_trained_to_be_rounded(tmp_path):
    path = tmp_path / "owning.safetensors"
    save_student(Student(StudentConfig(widths=(8, 16), blocks=(1, 1, 1), own=("tail",))), path)
    with pytest.raises(UserError, match=r"is a network for each degradation \(tail\)") as caught:
        QatTask(QatRecipe(network="qat", student=str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values", [{"clean": 0.0, "output": 0.0}, {"precision": "bf16"}, {"compile": "network"}]
)
def test_a_recipe_that_makes_no_sense(values):
    with pytest.raises(ValueError, match=r"clean|precision|compile"):
        QatRecipe(network="qat", **values)
