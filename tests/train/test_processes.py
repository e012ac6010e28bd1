import json

import numpy as np
import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_student
from cpl_edge.train.loop import Trainer
from cpl_edge.train.processes import Processes, join_processes
from cpl_edge.train.recipe import Stage, StudentRecipe
from cpl_edge.train.tables import Shape
from cpl_edge.train.task import StudentTask

RECIPE = StudentRecipe(
    student="nano", steps=4, precision="fp32", checkpoint_every=2, stages=[Stage(crop=16, batch=10)]
)
OWN = {"shape": Shape(own=("head", "tail"))}
RECIPES = [
    RECIPE,
    RECIPE.model_copy(update={**OWN, "trained": "own"}),
    # Two crops of five degradations for each process: what the others own has no gradient.
    RECIPE.model_copy(update={**OWN, "stages": [Stage(crop=16, batch=4)]}),
]
# What each of the two processes runs.
WORKER = """
import sys
from pathlib import Path
import numpy as np
import torch
from cpl_edge.data.patches import ImageBank
from cpl_edge.train.loop import Trainer
from cpl_edge.train.processes import join_processes
from cpl_edge.train.recipe import StudentRecipe
from cpl_edge.train.task import StudentTask
torch.set_num_threads(1)
recipe = StudentRecipe.model_validate_json(sys.argv[1])
image, folder = np.load(sys.argv[2]), Path(sys.argv[3])
with join_processes("cpu") as (processes, device):
    for minutes in (0, None):  # stopped after one step, and resumed
        trainer = Trainer(StudentTask(recipe), ImageBank([image]), None, folder, processes)
        assert trainer.step == (0 if minutes == 0 else 1)
        assert trainer.run(minutes) is (minutes is None)
"""


@pytest.mark.parametrize("recipe", RECIPES, ids=["shared", "in turns", "few crops"])
def test_two_processes_take_the_steps_of_one(photo, tmp_path, two_processes, both_halves, recipe):
    np.save(tmp_path / "photo.npy", photo)
    words = [recipe.model_dump_json(), str(tmp_path / "photo.npy"), str(tmp_path / "two")]
    two_processes(WORKER, *words)

    one = Trainer(StudentTask(recipe), both_halves([photo]), None, tmp_path / "one")
    assert one.run()
    mine, theirs = (
        load_student(tmp_path / name / "student.safetensors").state_dict()
        for name in ("one", "two")
    )
    fresh = StudentTask(recipe).network.state_dict()
    # Muon's bf16 iteration makes more of the last digit: a tenth of the way, over each weight.
    # Half of each batch alone would give another way altogether.
    for name, value in mine.items():
        assert (value - theirs[name]).norm() <= 0.1 * (value - fresh[name]).norm(), name
    still = {name for name, value in mine.items() if torch.equal(value, fresh[name])}
    assert bool(still) == bool(recipe.shape)  # nobody owns all that was trained
    rows = [  # one line each: in "two" the first process alone wrote
        json.loads((tmp_path / name / "log.jsonl").read_text()) for name in ("one", "two")
    ]
    for key in ("loss", "routing"):
        assert rows[1][key] == pytest.approx(rows[0][key], abs=2e-4)


def test_alone_there_is_nothing_to_join(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_processes("cpu") as (processes, device):
        assert (processes, device) == (Processes(0, 1), torch.device("cpu"))
    module = torch.nn.Linear(2, 2)
    assert processes.wrap(module, device) is module
    values = torch.tensor([1.0])
    assert processes.mean(values) is values
    assert processes.any(True, device) is True
    assert processes.stack(values).shape == (1, 1)


def test_a_batch_is_shared_evenly():
    assert Processes(1, 4).share(32) == 8
    with pytest.raises(UserError, match="cannot be shared by 3"):
        Processes(0, 3).share(32)


def test_a_run_goes_on_with_as_many_processes(photo, tmp_path, monkeypatch):
    one = Trainer(StudentTask(RECIPE), ImageBank([photo]), None, tmp_path)
    one.run(max_minutes=0)
    monkeypatch.setattr(Processes, "wrap", lambda self, module, device: module)
    with pytest.raises(UserError, match="trained by 1 processes"):
        Trainer(StudentTask(RECIPE), ImageBank([photo]), None, tmp_path, Processes(0, 2))
