import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PRESETS
from cpl_edge.models.teachers import load_teacher
from cpl_edge.shipped import shipped_names
from cpl_edge.train.loop import Trainer
from cpl_edge.train.recipe import read_recipe
from cpl_edge.train.teacher import TeacherTask
from cpl_edge.train.validation import TeacherValidation

ABLATIONS = [name for name in shipped_names("train", ".toml") if name.startswith("ablation-")]


@pytest.fixture(name="trainer")
def trainers(photo, teacher_recipe, tmp_path):
    def make(folder, **values):
        task = TeacherTask(teacher_recipe(**values))
        validation = TeacherValidation([photo[:16, :32]], task.degradations)
        return Trainer(task, ImageBank([photo]), validation, tmp_path / folder)

    return make


def rows(folder):
    return [
        {**json.loads(r), "seconds": 0} for r in (folder / "log.jsonl").read_text().splitlines()
    ]


def test_the_ablation_is_seven_recipes_that_differ_in_the_prompts_alone():
    assert len(ABLATIONS) == 7
    words = {"prompt", "dpa", "pdl", "negatives"}
    recipes = [read_recipe(name).model_dump() for name in ABLATIONS]
    alike = [{k: v for k, v in recipe.items() if k not in words} for recipe in recipes]
    assert all(one == alike[0] for one in alike)
    assert len({tuple(recipe[w] for w in sorted(words)) for recipe in recipes}) == 7


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "spm", "negatives": 2},
        {"prompt": "dppd", "optimiser": "muon"},
        {"prompt": "none", "ema": 0.0, "precision": "bf16"},
    ],
)
def test_stopped_and_resumed_a_teacher_takes_the_steps_of_one_run(trainer, values):
    whole = trainer("whole", **values)
    assert whole.run()
    stopped = trainer("stopped", **values)
    while not stopped.run(max_minutes=0):
        stopped = trainer("stopped", **values)
    assert rows(whole.folder) == rows(stopped.folder)
    mine = load_teacher(stopped.folder / "teacher.safetensors")
    theirs = load_teacher(whole.folder / "teacher.safetensors").state_dict()
    assert mine.config.prompt == values["prompt"]
    assert all(torch.equal(value, theirs[name]) for name, value in mine.state_dict().items())


def test_what_is_saved_is_the_running_mean(trainer):
    one = trainer("run", ema=0.9)
    first = {name: value.clone() for name, value in one.task.network.state_dict().items()}
    one.run()
    saved = load_teacher(one.folder / "teacher.safetensors").state_dict()
    name = "head.weight"
    now = one.task.network.state_dict()[name]
    assert torch.equal(saved[name], one.network.state_dict()[name])
    assert not torch.equal(saved[name], now)
    # Between where the weights were and where they are.
    assert (saved[name] - now).norm() < (first[name] - now).norm()


def test_validation_counts_what_each_site_selected(trainer):
    one = trainer("run")
    one.run(max_minutes=0)
    row = one.validation.run(one.network)["haze"]
    assert row.keys() == {"before", "after", "selected"}
    assert [len(site) for site in row["selected"]] == [5, 5, 5]
    assert [sum(site) for site in row["selected"]] == [1, 1, 1]
    without = trainer("none", prompt="none")
    assert without.validation.run(without.network)["haze"].keys() == {"before", "after"}


def test_cpr_is_part_of_what_is_minimised(batch, teacher_recipe):
    task = TeacherTask(teacher_recipe(negatives=2, cpr_weight=10.0, negative_weight="one"))
    total, parts = task(*batch)
    assert list(parts) == ["loss", "cpr"]
    assert parts["cpr"] < 0
    assert total.item() == pytest.approx((parts["loss"] + 10 * parts["cpr"]).item())
    published = TeacherTask(teacher_recipe(negatives=2))
    assert published.cpr_weight == 0.0005
    total.backward()
    with_cpr = task.network.head.weight.grad.clone()
    plain = TeacherTask(teacher_recipe())
    total, parts = plain(*batch)
    assert total is parts["loss"]
    total.backward()
    assert not torch.allclose(with_cpr, plain.network.head.weight.grad)
    assert all(parameter.grad is None for parameter in task.features.parameters())


# torch's tracer looks at .grad of tensors that are no leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("how", ["blocks", "network"])
def test_compiled_networks_compute_the_same(batch, teacher_recipe, how, monkeypatch):
    from cpl_edge.train import speed

    # Traced but not built: what a compiler makes of it is torch's matter.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **k: compile_(f, backend="eager", **k))
    task = TeacherTask(teacher_recipe(negatives=1))
    state = batch[-1].get_state()
    expected = task(*batch)[0].item()
    names = list(task.network.state_dict())
    speed.compile_network(task, how)
    batch[-1].set_state(state)
    with torch._dynamo.config.patch(recompile_limit=64):
        assert task(*batch)[0].item() == pytest.approx(expected, abs=1e-5)
    assert list(task.network.state_dict()) == names


def test_a_vgg_file_that_is_none_is_refused(teacher_recipe, tmp_path):
    with pytest.raises(UserError, match="vgg"):
        TeacherTask(teacher_recipe(negatives=1, vgg=str(tmp_path / "vgg.pth")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": "soft", "negatives": 4}, "negatives need sparse prompts"),
        ({"top_k": 3}, "at least twice top_k"),
        ({"degradations": ("noise", "hase")}, "no degradation 'hase'"),
        ({"teacher": "cpl-huge"}, "cpl-tiny"),
        ({"stages": [{"crop": 20}]}, "multiples of 8"),
    ],
)
def test_recipes_that_cannot_be_are_refused(teacher_recipe, values, message):
    with pytest.raises(ValueError, match=message):
        teacher_recipe(**values)


def test_a_recipe_can_name_every_preset(teacher_recipe):
    assert all(teacher_recipe(teacher=name).teacher == name for name in PRESETS)
