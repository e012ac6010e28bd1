import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.models.promptir import create_promptir
from cpl_edge.models.teachers import save_teacher
from cpl_edge.train.lessons import keep_lessons
from cpl_edge.train.loop import Trainer
from cpl_edge.train.processes import Processes
from cpl_edge.train.recipe import Distillation, Stage, StudentRecipe
from cpl_edge.train.start import create_task

ALONE = Processes()


@pytest.fixture(name="task")
def tasks(teacher):
    def make(stage=None, teacher=teacher, distil=None, **values):
        words = {"output": 1.0, "frequency": 0.5, "feature": 0.1, "routing": 0.2, "cache": 3}
        recipe = StudentRecipe(
            student="nano",
            precision="fp32",
            stages=[stage or Stage(crop=16, batch=5, context=24)],
            distil=Distillation(teacher=str(teacher), **(words | (distil or {}))),
            **{"steps": 7, "checkpoint_every": 1, **values},
        )
        return create_task(recipe)

    return make


@pytest.mark.parametrize("crop", [16, 24])
def test_kept_answers_are_those_of_the_teacher(task, photo, tmp_path, crop):
    stage, drawn = Stage(crop=crop, batch=5, context=24), torch.Generator()
    one, asked = task(stage), task(stage)
    batches = keep_lessons(one, ImageBank([photo]), tmp_path, ALONE)
    for _ in range(4):
        x_BCHW, y_BCHW, label_B = batches.degraded(one.degradations, 5, 24, drawn)
        assert y_BCHW.shape[-1] == crop
        kept, kept_parts = one(x_BCHW, y_BCHW, label_B, crop, drawn)
        total, parts = asked(x_BCHW, y_BCHW, label_B, crop, drawn)
        assert list(parts) == list(kept_parts)
        assert kept.item() == pytest.approx(total.item(), rel=1e-3)
        for name, value in parts.items():
            assert kept_parts[name].item() == pytest.approx(value.item(), rel=2e-3, abs=1e-6)
        taught = batches.answers["taught"]
        middle = slice((24 - crop) // 2, (24 + crop) // 2)
        torch.testing.assert_close(
            taught, asked.teacher(x_BCHW[..., middle, middle]), atol=1e-3, rtol=0
        )


def test_only_what_the_terms_need_is_kept(task, photo, tmp_path):
    one = task(distil={"feature": 0.0, "routing": 0.0})
    batches = keep_lessons(one, ImageBank([photo]), tmp_path, ALONE)
    assert batches.file.names == ("x", "y", "label", "taught")


def test_while_it_trains_the_teacher_is_not_asked(task, photo, tmp_path, monkeypatch):
    one = task()
    batches = keep_lessons(one, ImageBank([photo]), tmp_path, ALONE)
    monkeypatch.setattr(one, "ask", None)
    assert Trainer(one, batches, None, tmp_path).run()
    assert batches.taken == 7


def test_stopped_and_resumed_it_takes_the_steps_of_one_run(task, photo, tmp_path):
    def trainer(folder):
        one = task(negatives=1, cpr_weight=0.1)  # which draws from the run's generator
        batches = keep_lessons(one, ImageBank([photo]), tmp_path / folder, ALONE)
        return Trainer(one, batches, None, tmp_path / folder)

    whole, stopped = trainer("whole"), trainer("stopped")
    assert whole.run()
    while not stopped.run(max_minutes=0):  # 7 steps of 3 batches: in the middle of rounds, too
        stopped = trainer("stopped")
        assert stopped.bank.taken == stopped.step
    one, other = ((f / "student.safetensors").read_bytes() for f in (whole.folder, stopped.folder))
    assert one == other
    rows = json.loads((whole.folder / "log.jsonl").read_text())
    assert {"output", "frequency", "feature", "transfer", "cpr"} <= rows.keys()


def test_each_process_keeps_its_own_part(task, photo, tmp_path):
    parts = []
    for rank in range(2):
        one = task(Stage(crop=16, batch=10, context=24))
        batches = keep_lessons(one, ImageBank([photo]), tmp_path, Processes(rank, 2))
        parts.append(batches.degraded(one.degradations, 5, 24, torch.Generator())[0])
    assert parts[0].shape == parts[1].shape
    assert not torch.equal(*parts)


def test_another_teacher_recipe_or_data_is_refused(task, photo, tmp_path, tmp_path_factory):
    keep_lessons(task(), ImageBank([photo]), tmp_path, ALONE)
    keep_lessons(task(lr=1e-3, steps=9), ImageBank([photo]), tmp_path, ALONE)  # decides no batch
    network = create_promptir("cpl-tiny")
    other = tmp_path_factory.mktemp("other") / "teacher.safetensors"
    save_teacher(network.config, network.state_dict(), other)
    for values, word in (
        ({"teacher": other}, "teacher"),
        ({"seed": 5}, "seed"),
        ({"stage": Stage(crop=24, batch=5)}, "stage"),
        ({"distil": {"feature": 0.0}}, "terms"),
        ({"distil": {"cache": 4}}, "batches"),
    ):
        with pytest.raises(UserError, match=f"made with another '{word}'"):
            keep_lessons(task(**values), ImageBank([photo]), tmp_path, ALONE)
    with pytest.raises(UserError, match="other images"):
        keep_lessons(task(), ImageBank([255 - photo]), tmp_path, ALONE)


def test_batches_of_one_size_are_kept(teacher):
    with pytest.raises(ValueError, match="cache keeps batches of one size: give one stage"):
        StudentRecipe(
            stages=[Stage(), Stage(start=0.5)],
            distil=Distillation(teacher=str(teacher), cache=3),
        )
