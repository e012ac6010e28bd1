"""Training what each degradation owns: turns, and what stays as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError
from cpl_edge.models.shape import PARTS
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.train.loop import Trainer
from cpl_edge.train.start import train
from cpl_edge.train.validation import StudentValidation

KINDS = ("noise", "blur", "rain", "haze", "lowlight")
STAGES = [{"crop": 16, "batch": 5, "context": 24}]
MIX = {"noise": 2, "blur": 1, "rain": 1, "haze": 1, "lowlight": 3}


@pytest.fixture(name="own_task")
def maker(task_of):
    def make(own=PARTS, **values):
        plain = {"trained": "own", "steps": 8, "stages": STAGES, "checkpoint_every": 3}
        return task_of(**{**plain, **values, "shape": {"own": own}})

    return make


def changed(before, after):
    """Names of the values that differ in any bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def state_of(task):
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def asked(monkeypatch):
    """What the bank is asked for from now on."""
    seen = []
    original = ImageBank.degraded

    def degraded(self, kinds, count, size, generator):
        seen.append((tuple(kinds), count, size))
        return original(self, kinds, count, size, generator)

    monkeypatch.setattr(ImageBank, "degraded", degraded)
    return seen


def test_turns_go_round_where_degradations_own_what_is_trained(own_task):
    task = own_task()
    assert [task.turn(step) for step in range(7)] == [0, 1, 2, 3, 4, 0, 1]
    assert own_task(trained="all").turn(3) is None
    assert own_task(trained="body").turn(3) is None


def test_the_mix_is_shares_of_the_steps(own_task):
    task = own_task(mix=MIX)
    turns = [task.turn(step) for step in range(16)]
    assert [turns[:8].count(d) for d in range(5)] == list(MIX.values())
    assert turns[8:] == turns[:8]
    assert task.mix is None  # of batches that show one degradation
    assert own_task(trained="all", mix=MIX).mix == MIX


def test_who_owns_nothing_has_no_turn(own_task):
    task = own_task({"blur": ["tail"], "haze": ["middle.0", "tail"]})
    assert [task.turn(step) for step in range(4)] == [1, 3, 1, 3]
    for idle in ("rain", "snow"):
        with pytest.raises(UserError, match=f"'mix' trains {idle}, which owns nothing"):
            own_task({"blur": ["tail"]}, mix={"blur": 1, idle: 1})


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_who_is_not_named_in_the_mix_stays_as_it_is(own_task, photo, tmp_path, optimiser):
    task = own_task(mix={"noise": 1, "rain": 2}, optimiser=optimiser)
    assert [task.turn(step) for step in range(4)] == [0, 2, 2, 0]
    before = state_of(task)
    assert Trainer(task, ImageBank([photo]), None, tmp_path).run()
    owners = {name.split(".")[1] for name in changed(before, state_of(task))}
    assert owners == {"0", "2"}


@pytest.mark.parametrize("own", [PARTS, ("head", "middle")], ids=" ".join)
def test_a_step_changes_what_its_degradation_owns_and_nothing_else(
    own_task, photo, tmp_path, monkeypatch, own
):
    trainer = Trainer(own_task(own), ImageBank([photo]), None, tmp_path)
    seen = asked(monkeypatch)
    for degradation in range(5):
        before = state_of(trainer.task)
        trainer.train_step()
        mine = {name for name in before if name.startswith(f"own.{degradation}.")}
        assert changed(before, state_of(trainer.task)) == mine
    assert seen == [((kind,), 5, 24) for kind in KINDS]


def test_a_second_turn_moves_nobody_else_either(own_task, photo, tmp_path):
    """Momentum of another turn would."""
    trainer = Trainer(own_task(mix=MIX, steps=50), ImageBank([photo]), None, tmp_path)
    for step in range(12):
        before, turn = state_of(trainer.task), trainer.task.turn(step)
        trainer.train_step()
        owners = {".".join(n.split(".")[:2]) for n in changed(before, state_of(trainer.task))}
        assert owners == {f"own.{turn}"}


@pytest.mark.parametrize("own", [("tail",), ("up",), ("up", "tail")], ids=" ".join)
@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_any_part_can_be_trained_alone(own_task, photo, tmp_path, own, optimiser):
    """Also one without a convolution for Muon, or without anything for AdamW."""
    trainer = Trainer(own_task(own, optimiser=optimiser), ImageBank([photo]), None, tmp_path)
    before = state_of(trainer.task)
    trainer.train_step()
    assert changed(before, state_of(trainer.task)) == {n for n in before if n.startswith("own.0.")}


@pytest.mark.parametrize(
    "values", [{}, {"ema": 0.9}, {"keep": 0.3}, {"precision": "bf16"}], ids=str
)
def test_what_is_shared_is_saved_bit_for_bit(own_task, photo, tmp_path, values):
    own = ("head", "encoder", "tail")
    start = tmp_path / "start.safetensors"
    save_student(own_task(own).network, start)
    task = own_task(own, weights=str(start), **values)
    validation = StudentValidation([photo[:32, :48]], KINDS)
    assert Trainer(task, ImageBank([photo]), validation, tmp_path / "run").run()
    saved = load_student(tmp_path / "run" / "student.safetensors").state_dict()
    before = load_student(start).state_dict()
    assert changed(before, saved) == {name for name in before if name.startswith("own.")}
    (row,) = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert set(json.loads(row)["validation"]) == set(KINDS)


def test_each_may_begin_where_another_training_ended(own_task, tmp_path):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    network = own_task().network
    save_student(network, one)
    with torch.no_grad():
        network.own[3].tail.weight += 1
    save_student(network, other)
    values = {"weights": str(one), "trained": "own"}
    before = state_of(own_task(**values))
    taken = state_of(own_task(**values, take={"haze": str(other)}))
    assert changed(before, taken) == {"own.3.tail.weight"}
    assert torch.equal(taken["own.3.tail.weight"], network.own[3].tail.weight)
    with pytest.raises(UserError, match=f"cannot take snow from {other}: choose from noise"):
        own_task(**values, take={"snow": str(other)})


def test_stopped_and_resumed_it_takes_the_steps_of_one_run(own_task, photo, tmp_path):
    def trainer(folder):
        task = own_task(mix=MIX, steps=10, optimiser="muon", ema=0.9)
        return Trainer(task, ImageBank([photo]), None, tmp_path / folder)

    whole, stopped = trainer("whole"), trainer("stopped")
    assert whole.run()
    runs = 1
    while not stopped.run(max_minutes=0):
        stopped = trainer("stopped")
        runs += 1
    assert runs == 10
    one, other = ((f.folder / "student.safetensors").read_bytes() for f in (whole, stopped))
    assert one == other


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_together_few_crops_teach_those_that_they_show(own_task, photo, tmp_path, precision):
    task = own_task(trained="all", precision=precision, stages=[{"crop": 16, "batch": 2}])
    trainer = Trainer(task, ImageBank([photo]), None, tmp_path)
    before = state_of(task)
    trainer.train_step()
    moved = changed(before, state_of(task))
    owners = {name.split(".")[1] for name in moved if name.startswith("own.")}
    assert owners == {"0", "2"}  # two crops of five degradations: noise and rain
    assert any(name.startswith("router.") for name in moved)


def test_what_is_wrong_for_contrast_is_what_others_own(own_task, photo):
    task = own_task(negatives=2)
    generator = torch.Generator().manual_seed(0)
    x_BCHW, y_BCHW, label_B = ImageBank([photo]).degraded(("haze",), 2, 16, generator)
    total, parts = task(x_BCHW, y_BCHW, label_B + 3, 16, generator)
    assert parts["cpr"] < 0  # minus a distance
    total.backward()
    learns = {n.split(".")[1] for n, p in task.network.named_parameters() if p.grad is not None}
    assert learns == {"3"}


RECIPE = """
student = "nano"
trained = "own"
shape = { widths = [4, 6], blocks = [1, 1, 1], own = ["head", "tail"] }
mix = { noise = 2, blur = 1, rain = 1, haze = 1, lowlight = 3 }
variation = { jpeg = 0.5, exposure = 0.5, sigma = 0.5, clean = 0.5 }
folders = ["photos"]
holdout = 3
steps = 8
[[stages]]
crop = 16
batch = 4
"""


def test_the_verb_shares_out_the_steps_and_not_the_batches(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number, (_, image) in enumerate(bundled_photos()):
        part = Image.fromarray(np.ascontiguousarray(image[100:148, 100:148]))
        part.save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "own.toml").write_text(RECIPE, encoding="utf-8")
    seen = asked(monkeypatch)
    folder = Path(tmp_path / "run")
    result = train(str(tmp_path / "own.toml"), tmp_path, folder, None, 1, "cpu", None)
    assert result["finished"]
    assert result["recipe"]["mix"] == MIX
    assert [kinds for kinds, _, _ in seen] == [(kind,) for kind in KINDS for _ in range(MIX[kind])]
    assert {count for _, count, _ in seen} == {4}
    assert load_student(folder / "student.safetensors").config.own == ("head", "tail")
