import pytest

from cpl_edge.models.promptir import create_promptir
from cpl_edge.models.shape import PARTS
from cpl_edge.models.zoo import create_student
from cpl_edge.train.muon import Muon
from cpl_edge.train.optimisers import build_optimisers, learning_rate
from cpl_edge.train.recipe import StudentRecipe


def parameters(network, optimisers):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return names, [
        [names[id(p)] for group in optimiser.param_groups for p in group["params"]]
        for optimiser in optimisers
    ]


def test_every_parameter_of_a_student_has_one_optimiser():
    student = create_student("nano")
    optimisers = build_optimisers(student, StudentRecipe(), "tail")
    names, (by_muon, by_adam) = parameters(student, optimisers)
    assert isinstance(optimisers[0], Muon)
    assert sorted(by_muon + by_adam) == sorted(names.values())
    assert "middle.0.expand.weight" in by_muon
    assert "router.conv1.weight" in by_muon
    for name in ("tail.weight", "head.bias", "router.head.weight", "encoder.0.scale_NC"):
        assert name in by_adam


def test_muon_takes_what_degradations_own_but_what_makes_images():
    student = create_student("nano", shape={"own": PARTS})
    names, (by_muon, by_adam) = parameters(
        student, build_optimisers(student, StudentRecipe(), "tail")
    )
    assert sorted(by_muon + by_adam) == sorted(names.values())
    for degradation in range(5):
        at = f"own.{degradation}"
        assert {f"{at}.head.weight", f"{at}.up.weight", f"{at}.middle.0.expand.weight"} <= set(
            by_muon
        )
        assert {f"{at}.tail.weight", f"{at}.head.bias", f"{at}.encoder.0.scale_NC"} <= set(by_adam)


@pytest.mark.parametrize(
    ("trained", "kinds"), [("tail", ["AdamW"]), ("up", ["Muon"]), ("down", ["Muon", "AdamW"])]
)
def test_what_is_frozen_has_no_optimiser_and_none_is_left_without_any(trained, kinds):
    student = create_student("nano", shape={"own": (trained,)})
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(name.startswith("own."))
    optimisers = build_optimisers(student, StudentRecipe(), "tail")
    assert [type(optimiser).__name__ for optimiser in optimisers] == kinds
    names, found = parameters(student, optimisers)
    owned = {name for name in names.values() if name.startswith("own.")}
    assert {name for each in found for name in each} == owned


def test_of_a_teacher_muon_takes_no_depthwise_convolution_and_no_prompt():
    teacher = create_promptir("cpl-tiny")
    optimisers = build_optimisers(teacher, StudentRecipe(), "head")
    names, (by_muon, by_adam) = parameters(teacher, optimisers)
    assert sorted(by_muon + by_adam) == sorted(names.values())
    shapes = {name: p.shape for name, p in teacher.named_parameters()}
    assert all(shapes[name][1] > 1 for name in by_muon)
    assert {"head.weight", "site1.theta_NCSS"} <= set(by_adam)
    assert "down1.0.weight" in by_muon or any("down1" in name for name in by_muon)


def test_adamw_alone_has_the_recipes_betas():
    recipe = StudentRecipe(optimiser="adamw", betas=(0.9, 0.9))
    student = create_student("nano")
    optimisers = build_optimisers(student, recipe, "tail")
    assert len(optimisers) == 1
    group = optimisers[0].param_groups[0]
    assert group["betas"] == (0.9, 0.9)
    assert group["weight_decay"] == 0
    assert len(group["params"]) == len(list(student.parameters()))


def test_restarts_begin_anew_and_end_at_lr_end():
    plan = StudentRecipe(steps=400, lr=1.0, lr_end=0.1, warmup=0.0, restarts=4)
    rates = [learning_rate(plan, step) for step in range(401)]
    for start in (0, 100, 200, 300):
        assert rates[start] == 1.0
        assert rates[start + 50] == pytest.approx(0.55)
        assert rates[start + 99] == pytest.approx(0.1, abs=1e-3)
    assert rates[400] == pytest.approx(0.1)
