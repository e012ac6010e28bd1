import json

import numpy as np
import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.models.teachers import load_teacher
from cpl_edge.train.checkpoint import load_checkpoint
from cpl_edge.train.loop import Trainer
from cpl_edge.train.recipe import Stage
from cpl_edge.train.teacher import TeacherTask
from cpl_edge.train.validation import TeacherValidation

# What each of the two processes runs.
WORKER = """
import sys
from pathlib import Path
import numpy as np
import torch
from torch.distributed.tensor import DTensor
from cpl_edge.data.patches import ImageBank
from cpl_edge.train.loop import Trainer
from cpl_edge.train.processes import join_processes
from cpl_edge.train.recipe import TeacherRecipe
from cpl_edge.train.teacher import TeacherTask
from cpl_edge.train.validation import TeacherValidation
torch.set_num_threads(1)
image, folder = np.load(sys.argv[1]), Path(sys.argv[2])
with join_processes("cpu") as (processes, device):
    for number, text in enumerate(sys.argv[3:]):
        recipe = TeacherRecipe.model_validate_json(text)
        sharded = recipe.parallel == "fsdp"
        stops = (0, None) if number == 0 else (None,)  # the first: after one step, and resumed
        for minutes in stops:
            task = TeacherTask(recipe)
            whole = sum(p.numel() for p in task.network.parameters())
            validation = TeacherValidation([image[:16, :32]], task.degradations)
            run = folder / str(number)
            trainer = Trainer(task, ImageBank([image]), validation, run, processes)
            assert trainer.step == (1 if number == 0 and minutes is None else 0)
            for network in (task.network, trainer.average.module) if sharded else ():
                assert all(isinstance(p, DTensor) for p in network.parameters())
                mine = sum(p.to_local().numel() for p in network.parameters())
                assert 0.4 * whole < mine < 0.6 * whole
            assert trainer.run(minutes) is (minutes is None)
"""


pytestmark = pytest.mark.timeout(900)  # where two processes share a busy core

PLAIN = {"stages": [Stage(crop=16, batch=4)], "steps": 2, "ema": 0.5, "clip": 0.05}
OTHERS = {  # passes without gradients, frozen filters; buffers that follow the batches
    "cpr": {"negatives": 2, "cpr_weight": 0.1, "negative_weight": "one"},
    "dppd": {"prompt": "dppd", "precision": "bf16"},
}


@pytest.fixture(name="runs", scope="module")
def run_folders(photo, teacher_recipe, tmp_path_factory, two_processes):
    """Folders of what two processes trained: a plain network, and others as ddp and as fsdp."""
    folder = tmp_path_factory.mktemp("two")
    np.save(folder / "photo.npy", photo)
    recipes = {"plain": teacher_recipe(**PLAIN, parallel="fsdp")}
    for name, values in OTHERS.items():
        for parallel in ("ddp", "fsdp"):
            recipes[f"{name} {parallel}"] = teacher_recipe(**PLAIN, **values, parallel=parallel)
    texts = [recipe.model_dump_json() for recipe in recipes.values()]
    two_processes(WORKER, str(folder / "photo.npy"), str(folder), *texts)
    return {name: folder / str(number) for number, name in enumerate(recipes)}


def check_alike(one, other, fresh, tolerance=0.1):
    """Both checkpoints are of the same form and went the same way, but for rounding."""
    mine, theirs = (load_checkpoint(folder / "checkpoint.pt") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine["teacher"].items():
        start = fresh[name]
        moved = max((value - start).norm().item(), 1e-6)
        assert (theirs["teacher"][name] - value).norm() <= tolerance * moved, name
    assert theirs["average"].keys() == mine["average"].keys()
    slots = [state["optimisers"][0]["state"] for state in (mine, theirs)]
    assert slots[0].keys() == slots[1].keys()
    for index, slot in slots[0].items():
        for name, value in slot.items():
            assert slots[1][index][name].shape == value.shape
    rows = [json.loads((folder / "log.jsonl").read_text()) for folder in (one, other)]
    for name in ("loss", "cpr"):
        assert rows[1].get(name) == pytest.approx(rows[0].get(name), abs=2e-4)
    for kind, row in rows[0]["validation"].items():
        assert rows[1]["validation"][kind]["after"] == pytest.approx(row["after"], abs=0.05)
    # What is saved is the running mean of the checkpoint, whole.
    saved = load_teacher(other / "teacher.safetensors").state_dict()
    for name, value in saved.items():
        assert torch.equal(value, theirs["average"][f"module.{name}"]), name


def test_two_processes_with_half_the_network_each_take_the_steps_of_one(
    runs, photo, tmp_path, teacher_recipe, both_halves
):
    task = TeacherTask(teacher_recipe(**PLAIN))
    fresh = {name: value.clone() for name, value in task.network.state_dict().items()}
    validation = TeacherValidation([photo[:16, :32]], task.degradations)
    assert Trainer(task, both_halves([photo]), validation, tmp_path).run()
    check_alike(tmp_path, runs["plain"], fresh)


@pytest.mark.parametrize("name", OTHERS)
def test_with_half_the_network_each_they_take_the_steps_of_whole_ones(runs, name, teacher_recipe):
    fresh = TeacherTask(teacher_recipe(**PLAIN, **OTHERS[name])).network.state_dict()
    check_alike(runs[f"{name} ddp"], runs[f"{name} fsdp"], fresh)


def test_alone_nothing_is_sharded(photo, tmp_path, teacher_recipe):
    task = TeacherTask(teacher_recipe(parallel="fsdp"))
    assert task.parallel == "fsdp"
    assert Trainer(task, ImageBank([photo]), None, tmp_path).shards is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimiser": "muon"}, "matrices that Muon needs whole: choose"),
        ({"compile": "network"}, 'choose compile = "blocks"'),
    ],
)
def test_what_cannot_be_sharded_is_refused(teacher_recipe, values, message):
    with pytest.raises(ValueError, match=message):
        teacher_recipe(parallel="fsdp", **values)
    teacher_recipe(**values)
