"""Training on a published dataset's folders, in miniature."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from cpl_edge.data.bank import Bank
from cpl_edge.data.layouts import find_layout
from cpl_edge.data.pairing import Item
from cpl_edge.errors import UserError
from cpl_edge.models.student import StudentConfig
from cpl_edge.train import pairs as module
from cpl_edge.train.pairs import HELD_OUT_PAIRS, open_dataset, open_pairs, split
from cpl_edge.train.processes import Processes
from cpl_edge.train.recipe import Stage, StudentRecipe, TeacherRecipe
from cpl_edge.train.start import train
from cpl_edge.train.teacher import TeacherTask
from cpl_edge.train.validation import StudentValidation, TeacherValidation

SIZE = (48, 48)


def scene(seed):
    return np.random.default_rng(seed).integers(40, 200, (*SIZE, 3), np.uint8)


@pytest.fixture(name="three_tasks")
def miniature_of_three_tasks(tmp_path):
    """Six clean photos for noise, six of rain, three scenes under two hazes each."""
    root = tmp_path / "dataset"

    def save(name, image):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)

    for n in range(6):
        save(f"Train/Denoise/{n}.png", scene(n))
        save(f"Train/Derain/gt/norain-{n}.png", scene(10 + n))
        save(f"Train/Derain/rainy/rain-{n}.png", scene(10 + n) + 20)
    for n in range(3):
        save(f"Train/Dehaze/original/{n:04}.png", scene(20 + n))
        for part, beta in (("part1", "0.04"), ("part2", "0.20")):
            name = f"Train/Dehaze/synthetic/{part}/{n:04}_0.8_{beta}.png"
            save(name, scene(20 + n) // 2 + 100)
    return root


RECIPE = """
network = "teacher"
teacher = "cpl-tiny"
layout = "3tasks"
precision = "fp32"
holdout = 5
steps = 2
[[stages]]
crop = 16
batch = 4
"""


def test_a_teacher_trains_on_folders_and_again_on_the_bank(three_tasks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")

    def run(data, out):
        result = train("tiny.toml", data, tmp_path / out, None, 1, "cpu", None)
        row = json.loads((tmp_path / out / "log.jsonl").read_text().splitlines()[-1])
        return result, {**row, "seconds": 0}

    result, row = run(three_tasks, "runs/one")
    # 15 clean photos, of which the first, sixth and eleventh by name are held out.
    assert result["finished"]
    assert result["images"] == 6 + 6 + 6 - 2 - 1 - 1
    assert row["validation"].keys() == {"noise", "rain", "haze"}
    bank = tmp_path / "runs/bank-3tasks"
    assert len(Bank(bank)) == 6 + 12 + 9
    before = (bank / "index.json").stat().st_mtime_ns
    assert run(bank, "runs/two")[1] == row
    assert run(three_tasks, "runs/three")[1] == row  # packed already
    assert (bank / "index.json").stat().st_mtime_ns == before


def test_what_is_held_out_is_not_trained_on_and_pairs_belong_together(three_tasks, tmp_path):
    recipe = TeacherRecipe(network="teacher", layout="3tasks", holdout=5)
    place = torch.device("cpu")
    bank, curve = open_pairs(
        recipe, three_tasks, tmp_path, ("noise", "rain", "haze"), TeacherValidation, place,
        Processes(),
    )  # fmt: skip
    assert curve.kinds == ("noise", "rain", "haze")
    shown = {kind: (x, y) for kind, x, y in curve.pairs}
    rain, clean = shown["rain"]
    assert torch.allclose((rain - clean) * 255, torch.tensor(20.0), atol=1e-3)
    noisy, clean = shown["noise"]
    assert 0.04 < float((noisy - clean).std()) < 0.25
    assert len(curve.pairs) == 4  # two hazes of one scene
    hidden = [sorted((y_BCHW[0] * 255).round().flatten().tolist()) for _, _, y_BCHW in curve.pairs]
    # Crops of all rows and 48 columns: a held-out one would show the same values.
    x_BCHW, y_BCHW, label_B = bank.degraded(curve.kinds, 100, 48, torch.Generator().manual_seed(0))
    seen = {tuple(sorted((y_CHW * 255).round().flatten().tolist())) for y_CHW in y_BCHW}
    assert all(len(values) == len(next(iter(seen))) for values in hidden)
    assert not {tuple(values) for values in hidden} & seen
    rainy = label_B == 1
    assert torch.allclose((x_BCHW - y_BCHW)[rainy] * 255, torch.tensor(20.0), atol=1e-3)


def test_a_clean_photo_is_held_out_with_all_that_was_made_of_it():
    items = [Item("haze", f"{n:02}", f"{n:02}_{k}") for n in range(20) for k in range(35)]
    items += [Item("rain", f"r{n}", f"rain{n}") for n in range(4)]
    training, held_out = split(items, 10)
    assert not {item.clean for item in training} & {item.clean for item in held_out}
    assert {item.clean for item in items} - {item.clean for item in training} == {
        "00", "10", "r0"
    }  # fmt: skip
    hazy = [item for item in held_out if item.task == "haze"]
    assert len(hazy) == HELD_OUT_PAIRS
    assert {item.clean for item in hazy} == {"00", "10"}  # not only one scene's


def test_a_task_that_would_lose_its_only_image_is_told():
    items = [Item("haze", "a", "a_1"), Item("rain", "b", "b_1"), Item("rain", "c", "c_1")]
    with pytest.raises(UserError, match="no image is left to train haze on: raise 'holdout'"):
        split(items, 2)


def test_a_task_that_nothing_is_held_out_of_has_no_row():
    curve = StudentValidation([], ("noise", "rain"))
    clean = torch.full((1, 3, 16, 16), 0.5)
    curve.add("rain", clean + 0.1, clean)

    assert curve.run(Same()) == {"rain": {"before": 20.0, "after": 20.0, "routed": 1.0}}


class Same(torch.nn.Module):
    """Takes everything for rain and changes nothing."""

    config = StudentConfig()

    def route(self, x_BCHW):
        return torch.eye(15)[6][None, None]

    def restore(self, x_BCHW, w_BSN):
        return x_BCHW


def test_a_student_takes_what_it_knows_and_refuses_the_rest(three_tasks, tmp_path):
    recipe = StudentRecipe(layout="cdd11")
    with pytest.raises(UserError, match="knows no 'snow' of layout cdd11, only noise, blur"):
        open_pairs(
            recipe, three_tasks, tmp_path, ("noise", "blur", "rain", "haze", "lowlight"),
            StudentValidation, torch.device("cpu"), Processes(),
        )  # fmt: skip
    assert not list(tmp_path.glob("bank-*"))  # told before anything is packed


def test_missing_folders_are_told_by_name(tmp_path):
    (tmp_path / "data/Train/Denoise").mkdir(parents=True)
    Image.fromarray(scene(0)).save(tmp_path / "data/Train/Denoise/a.png")
    with pytest.raises(UserError, match=re.escape("no images for rain of 3tasks: they lie in")):
        open_dataset(tmp_path / "data", find_layout("3tasks"), tmp_path, Processes())


def test_only_the_first_process_packs(three_tasks, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "pack", lambda *words: calls.append(words))
    monkeypatch.setattr(Processes, "wait", lambda self: calls.append("wait"))
    with pytest.raises(UserError, match="is no bank"):  # nobody packed
        open_dataset(three_tasks, find_layout("3tasks"), tmp_path, Processes(rank=1, count=2))
    assert calls == ["wait"]


def test_a_mix_weighs_tasks(three_tasks, tmp_path):
    recipe = TeacherRecipe(
        network="teacher", layout="3tasks", mix={"noise": 1, "haze": 3}, stages=[Stage(crop=16)]
    )
    kinds = ("noise", "rain", "haze")
    bank, _ = open_pairs(
        recipe, three_tasks, tmp_path, kinds, TeacherValidation, torch.device("cpu"), Processes()
    )
    _, _, label_B = bank.degraded(kinds, 400, 16, torch.Generator().manual_seed(0))
    counts = label_B.bincount(minlength=3).tolist()
    assert counts[1] == 0
    assert 65 < counts[0] < 135


def test_a_layout_brings_its_own_degradations_and_takes_no_variation():
    recipe = TeacherRecipe(network="teacher", teacher="cpl-tiny", layout="cdd11")
    assert TeacherTask(recipe).degradations == find_layout("cdd11").tasks
    with pytest.raises(ValidationError, match="leave it out with a layout"):
        TeacherRecipe(network="teacher", layout="3tasks", variation={"jpeg": 0.5})
