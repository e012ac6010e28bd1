import itertools
import json
import math
import os
import signal

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.models.zoo import create_student, load_student
from cpl_edge.train import loop
from cpl_edge.train.checkpoint import load_checkpoint, save_checkpoint
from cpl_edge.train.loop import Trainer
from cpl_edge.train.optimisers import learning_rate
from cpl_edge.train.processes import Processes
from cpl_edge.train.recipe import Stage, StudentRecipe
from cpl_edge.train.task import StudentTask
from cpl_edge.train.validation import StudentValidation


@pytest.fixture(name="image", scope="module")
def a_photo():
    return dict(bundled_photos())["coffee"]


def recipe(**values):
    """A few small steps of the smallest student."""
    stages = values.pop("stages", [Stage(crop=16, batch=5, context=24)])
    plain = {"student": "nano", "steps": 8, "checkpoint_every": 3, "validate_every": 2}
    return StudentRecipe(**{**plain, "stages": stages, **values})


@pytest.fixture(name="trainer")
def trainers(image, tmp_path):
    validation = StudentValidation([image[:32, :48]], create_student("nano").config.degradations)

    def make(folder="run", tensorboard=False, images_every=0, **values):
        task = StudentTask(recipe(**values))
        bank, place = ImageBank([image]), tmp_path / folder
        return Trainer(task, bank, validation, place, None, tensorboard, images_every)

    return make


def weights(folder):
    return load_student(folder / "student.safetensors").state_dict()


def log_rows(folder):
    """The log without the wall time, which no two runs share."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def assert_same_run(one, other):
    assert log_rows(one) == log_rows(other)
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def at_step(monkeypatch, number, action):
    """Call ``action`` before the step with that number is taken."""
    original = Trainer.train_step

    def train_step(self):
        if self.step == number:
            action()
        return original(self)

    monkeypatch.setattr(Trainer, "train_step", train_step)


# A whole run


def test_a_run_leaves_weights_log_and_checkpoint(trainer):
    one = trainer()
    assert one.run() is True
    names = {path.name for path in one.folder.iterdir()}
    assert names == {"student.safetensors", "log.jsonl", "checkpoint.pt"}
    assert load_checkpoint(one.checkpoint)["step"] == 8
    rows = log_rows(one.folder)
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert rows[-1]["lr"] == 0
    for row in rows:
        assert row.keys() == {"step", "lr", "loss", "routing", "validation"}
        assert row["validation"].keys() == set(one.task.degradations)
        assert row["validation"]["haze"].keys() == {"before", "after", "routed"}
    trained, fresh = weights(one.folder), create_student("nano").state_dict()
    unchanged = [name for name in trained if torch.equal(trained[name], fresh[name])]
    assert unchanged == []


def test_the_seed_decides(trainer):
    first, same, other = trainer("1"), trainer("2"), trainer("3", seed=1)
    for one in (first, same, other):
        one.run()
    assert_same_run(first.folder, same.folder)
    assert log_rows(other.folder) != log_rows(first.folder)


@pytest.mark.parametrize("values", [{"precision": "fp32"}, {"loss": "charbonnier"}])
def test_the_recipes_words_matter(trainer, values):
    plain, other = trainer("1"), trainer("2", **values)
    assert plain.run()
    assert other.run()
    assert log_rows(other.folder) != log_rows(plain.folder)


def test_stages_change_the_batches(trainer, monkeypatch):
    seen = []
    original = ImageBank.degraded

    def degraded(self, kinds, count, size, generator):
        seen.append((count, size))
        return original(self, kinds, count, size, generator)

    monkeypatch.setattr(ImageBank, "degraded", degraded)
    stages = [Stage(crop=16, batch=5), Stage(start=0.5, crop=24, batch=3, context=40)]
    trainer(steps=4, stages=stages).run()
    assert seen == [(5, 16), (5, 16), (3, 40), (3, 40)]


def test_the_middle_is_restored_and_the_router_sees_the_whole(trainer):
    one = trainer(precision="fp32")
    x_BCHW, y_BCHW, label_B = one.bank.degraded(one.task.degradations, 5, 24, one.generator)
    pixel, routing = one.task(x_BCHW, y_BCHW, label_B, 16, one.generator)[1].values()
    other_border = x_BCHW.clone()
    other_border[..., :4, :] = 1 - other_border[..., :4, :]
    with torch.no_grad():  # a fresh student is nearly the identity whatever the prompt
        difference = (x_BCHW - y_BCHW)[..., 4:20, 4:20].abs().mean()
    assert pixel.item() == pytest.approx(difference.item(), rel=0.5)
    again, rerouted = one.task(other_border, y_BCHW, label_B, 16, one.generator)[1].values()
    assert again.item() == pytest.approx(pixel.item(), abs=1e-3)
    assert rerouted.item() != routing.item()


# Stopping and going on


def test_stopped_again_and_again_it_takes_the_steps_of_one_run(trainer):
    whole, stopped = trainer("whole"), trainer("stopped")
    whole.run()
    runs = 0
    while not stopped.run(max_minutes=0):
        runs += 1
        stopped = trainer("stopped")
        assert stopped.step == runs
    assert runs == 7
    assert_same_run(whole.folder, stopped.folder)


@pytest.mark.parametrize("number", [1, 4, 7])
def test_killed_between_checkpoints_it_goes_on_as_if_nothing_was(trainer, monkeypatch, number):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    whole, killed = trainer("whole"), trainer("killed")
    whole.run()
    with monkeypatch.context() as patch:
        at_step(patch, number, die)
        with pytest.raises(Killed):
            killed.run()
    resumed = trainer("killed")
    assert resumed.step == number // 3 * 3
    assert resumed.run() is True
    assert_same_run(whole.folder, resumed.folder)


def test_rows_of_a_killed_run_are_dropped_even_without_a_checkpoint(trainer):
    one = trainer()
    one.folder.mkdir()
    (one.folder / "log.jsonl").write_text('{"step": 2, "loss": 9}\n{"step": 4, "lo')
    assert trainer().run()
    assert [row["step"] for row in log_rows(one.folder)] == [2, 4, 6, 8]
    assert log_rows(one.folder)[0]["loss"] < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_with_a_checkpoint(trainer, monkeypatch, number):
    before = signal.getsignal(number)
    whole, one = trainer("whole"), trainer()
    whole.run()
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: os.kill(os.getpid(), number))
        assert one.run() is False
    assert load_checkpoint(one.checkpoint)["step"] == 5
    assert not (one.folder / "student.safetensors").exists()
    assert signal.getsignal(number) is before
    resumed = trainer()
    assert resumed.run() is True
    assert_same_run(whole.folder, resumed.folder)


def test_a_finished_run_is_not_trained_again(trainer, monkeypatch):
    trainer().run()
    folder = trainer().folder
    before = weights(folder)
    (folder / "student.safetensors").unlink()  # as after a crash right before writing it
    at_step(monkeypatch, 8, lambda: pytest.fail("there is nothing left to train"))
    assert trainer().run() is True
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())


def test_time_is_counted_over_all_sessions(trainer):
    trainer().run(max_minutes=0)
    first = load_checkpoint(trainer().checkpoint)["seconds"]
    trainer().run()
    assert load_checkpoint(trainer().checkpoint)["seconds"] > first > 0


def test_a_run_of_another_recipe_is_left_alone(trainer):
    trainer().run(max_minutes=0)
    content = trainer().checkpoint.read_bytes()
    with pytest.raises(UserError, match="another recipe: choose another --out"):
        trainer(lr=1e-3)
    assert trainer().checkpoint.read_bytes() == content


def test_a_strangers_checkpoint_is_left_alone(trainer):
    path = trainer().checkpoint
    save_checkpoint(path, {"step": 3})
    with pytest.raises(UserError, match="another recipe"):
        trainer()
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="not a checkpoint"):
        trainer()
    assert path.read_bytes() == b"hello"


# What a person can look at


@pytest.mark.parametrize(
    ("every", "steps"), [(0, []), (None, [2, 4, 6, 8]), (3, [3, 6, 8]), (20, [8])]
)
def test_pictures_come_every_so_many_steps_and_at_the_end(trainer, every, steps):
    one = trainer(images_every=every)
    one.run()
    names = sorted(path.name for path in one.folder.glob("images/*"))
    assert names == [f"step-{step:06d}.jpg" for step in steps]


def test_looking_does_not_change_the_weights(trainer):
    pytest.importorskip("tensorboard", reason="event files are TensorBoard's: cpl-edge[board]")
    plain, seen = trainer("plain"), trainer("seen", tensorboard=True, images_every=1)
    plain.run()
    seen.run(max_minutes=0)
    assert trainer("seen", tensorboard=True, images_every=3).run()
    assert_same_run(plain.folder, seen.folder)
    assert len(list(seen.folder.glob("events.out.tfevents.*"))) == 2


def test_a_picture_shows_the_step_and_all_degradations(trainer, monkeypatch):
    given = []
    original = loop.draw_grid

    def spy(title, samples):
        given.append((title, [sample.kind for sample in samples]))
        return original(title, samples)

    monkeypatch.setattr(loop, "draw_grid", spy)
    one = trainer(images_every=5, steps=5)
    one.run()
    assert given == [("run: step 5 of 5", list(one.task.degradations))]


def test_a_finished_run_gets_no_more_logs(trainer):
    pytest.importorskip("tensorboard", reason="event files are TensorBoard's: cpl-edge[board]")
    trainer().run()
    before = sorted(path.name for path in trainer().folder.rglob("*"))
    assert trainer(tensorboard=True, images_every=1).run()
    assert sorted(path.name for path in trainer().folder.rglob("*")) == before


def test_only_the_first_process_writes_logs(trainer, monkeypatch):
    one = trainer(images_every=1, steps=2)
    one.processes = Processes(rank=1)
    monkeypatch.setattr(one, "save", lambda: None)
    one.run()
    assert list(one.folder.iterdir()) == []


def test_a_log_that_cannot_be_written_stops_the_run_with_a_reason(trainer):
    one = trainer()
    (one.folder / "log.jsonl").mkdir(parents=True)
    with pytest.raises(CplEdgeError, match=r"cannot write .*log\.jsonl .*make room"):
        one.run()


# What can go wrong


def test_an_exploding_run_stops_and_keeps_its_checkpoint(trainer):
    calm = trainer(steps=60)
    with pytest.raises(CplEdgeError, match="lower the learning rate") as caught:
        trainer("wild", steps=60, lr=1e30, checkpoint_every=1).run()
    assert caught.value.exit_code == 1
    assert load_checkpoint(calm.folder.parent / "wild" / "checkpoint.pt")["step"] >= 1


@pytest.mark.parametrize("which", ["loss", "gradient"])
def test_nan_never_reaches_the_weights(trainer, monkeypatch, which):
    one = trainer()
    one.run(max_minutes=0)
    saved = one.checkpoint.read_bytes()
    one = trainer()
    original = StudentTask.forward

    def poisoned(self, *batch):
        total, parts = original(self, *batch)
        if which == "gradient":  # a finite loss whose gradient is not
            total.register_hook(lambda gradient: gradient * math.nan)
            return total, parts
        return total * math.nan, parts

    monkeypatch.setattr(StudentTask, "forward", poisoned)
    with pytest.raises(CplEdgeError, match=r"nan.* at step 1: lower .* checkpoint in .* is kept"):
        one.run()
    assert one.checkpoint.read_bytes() == saved
    assert all(parameter.isfinite().all() for parameter in one.task.network.parameters())


def test_a_disk_that_refuses_stops_the_run_with_a_reason(trainer, monkeypatch):
    def refuse(state, handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(CplEdgeError, match="No space left"):
        trainer().run()


def test_a_run_folder_that_is_a_file_is_refused(trainer, tmp_path):
    (tmp_path / "run").touch()
    for folder in ("run", "run/deeper"):
        with pytest.raises(UserError, match="cannot be a run folder"):
            trainer(folder).run()


def test_an_unknown_student_is_refused(trainer):
    with pytest.raises(UserError, match="'xxl'; there are nano"):
        trainer(student="xxl")


# Learning


def test_the_rate_rises_then_falls_to_nothing():
    plan = StudentRecipe(steps=1000, lr=2e-3, warmup=0.02)
    rates = [learning_rate(plan, step) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-3 / 20)
    assert rates[9] == pytest.approx(1e-3, rel=0.001)
    assert max(rates) == pytest.approx(2e-3, rel=0.002)
    assert rates.index(max(rates)) == 19
    assert rates[500] == pytest.approx(1e-3)
    assert rates[750] == pytest.approx(2e-3 * (1 - math.sqrt(0.5)) / 2)
    assert rates[1000] == 0
    assert all(a > b for a, b in itertools.pairwise(rates[19:]))


def test_without_warm_up_the_first_rate_is_the_highest():
    assert learning_rate(StudentRecipe(steps=10, lr=1e-3, warmup=0.0), 0) == pytest.approx(1e-3)


def test_a_student_learns_from_one_photo(trainer):
    one = trainer(steps=100, stages=[Stage(crop=32, batch=10)], precision="fp32")
    values = [one.train_step() for _ in range(100)]

    def mean(key, part):
        return sum(value[key] for value in part) / len(part)

    assert mean("loss", values[-30:]) < 0.75 * mean("loss", values[:15])
    assert mean("routing", values[:5]) == pytest.approx(math.log(5), abs=0.15)  # a blind guess
    assert mean("routing", values[-30:]) < 0.75 * math.log(5)


def test_progress_is_shown_only_on_a_terminal(trainer, capsys):
    trainer().run(max_minutes=0)
    assert capsys.readouterr() == ("", "")
    with loop._progress(10, 0) as advance:
        advance(3, 0.5)
    assert capsys.readouterr() == ("", "")
