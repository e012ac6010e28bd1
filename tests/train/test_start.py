import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from cpl_edge.data.photos import bundled_photos
from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_student
from cpl_edge.train import start as module
from cpl_edge.train.__main__ import main
from cpl_edge.train.start import train

RECIPE = """
student = "nano"
folders = ["photos"]
holdout = 3
steps = 12
checkpoint_every = 5
validate_every = 4
[[stages]]
crop = 16
batch = 5
"""


@pytest.fixture(name="place")
def folder_with_recipe_and_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CPL_EDGE_TRAIN_DATA", raising=False)
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for number, (_, image) in enumerate(bundled_photos()):
        part = Image.fromarray(image[100:164, 100:148])
        part.save(tmp_path / "data" / "photos" / f"{number}.png")
    return tmp_path


def start(recipe="tiny.toml", data="data", out=None, steps=None, device="cpu"):
    return train(
        recipe, data and Path(data), out and Path(out), 0, threads=1, device=device, steps=steps
    )


def run(*argv):
    """The verb's exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["--recipe", "tiny.toml", *argv])
    return caught.value.code


def error_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


# The function


def test_a_run_reports_what_a_card_needs(place):
    result = start()
    assert result.keys() >= {"recipe", "seconds", "machine"}
    assert (result["step"], result["steps"], result["finished"]) == (1, 12, False)
    assert result["images"] == 3  # five, of which the first and the fourth are held out
    assert Path(result["folder"]) == Path("runs/tiny")
    assert result["recipe"]["student"] == "nano"
    assert torch.__version__.startswith(result["versions"]["torch"])
    assert json.loads((place / "runs" / "tiny" / "run.json").read_text()) == result


def test_held_out_images_are_not_trained_on(place, monkeypatch):
    given = {}

    def spy(name, original):
        def make(images, *rest):
            given[name] = [image.tolist() for image in images]
            return original(images, *rest)

        monkeypatch.setattr(module, name, make)

    spy("ImageBank", module.ImageBank)
    original = module.VALIDATIONS["student"]

    def validation(images, *rest):
        given["Validation"] = [image.tolist() for image in images]
        return original(images, *rest)

    monkeypatch.setitem(module.VALIDATIONS, "student", validation)
    start()
    photos = [image[100:164, 100:148].tolist() for _, image in bundled_photos()]
    assert given["ImageBank"] == [photos[n] for n in (1, 2, 4)]
    assert given["Validation"] == [photos[n] for n in (0, 3)]


def test_steps_replace_the_recipes(place):
    assert start(steps=1)["finished"] is True
    assert start(steps=3, out="other")["steps"] == 3


def test_out_is_where_the_run_goes(place):
    assert start(out="deep/run")["folder"] == "deep/run"
    assert (place / "deep" / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": None}, "--data FOLDER where the images are: it must hold photos"),
        ({"data": "nowhere"}, "no folder nowhere/photos: give the training images with --data"),
        ({"device": "tpu"}, "no device 'tpu': use --device cpu"),
        ({"device": "cuda:0"}, "no device 'cuda:0'"),
        ({"recipe": "none.toml"}, "none.toml does not exist; the recipes that ship are"),
        ({"recipe": "student-xs"}, "did you mean 'student-s'?"),
    ],
)
def test_mistakes_are_answered(place, values, message):
    with pytest.raises(UserError) as caught:
        start(**values)
    assert message in str(caught.value)


def test_a_missing_tensorboard_is_told_before_any_image_is_read(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert run("--data", "nowhere", "--tensorboard") == 2
    assert "'tensorboard': pip install 'cpl-edge[board]'" in error_line(capsys)


def test_a_picture_of_held_out_photos_comes_with_each_validation(place):
    assert run("--data", "data") == 0
    names = sorted(path.name for path in (place / "runs" / "tiny" / "images").iterdir())
    assert names == ["step-000004.jpg", "step-000008.jpg", "step-000012.jpg"]


def test_tensorboard_and_pictures_are_no_part_of_the_recipe(place):
    pytest.importorskip("tensorboard", reason="event files are TensorBoard's: cpl-edge[board]")
    assert run("--data", "data", "--max-minutes", "0", "--images-every", "0") == 0
    folder = place / "runs" / "tiny"
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "run.json"}
    assert run("--data", "data", "--tensorboard", "--images-every", "6") == 0
    names = sorted(path.name for path in (folder / "images").iterdir())
    assert names == ["step-000006.jpg", "step-000012.jpg"]
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_a_missing_gpu_is_told_before_any_image_is_read(place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device: use --device cpu"):
        start(device="cuda", data="nowhere")


def test_images_that_do_not_do_are_answered(place):
    photos = place / "data" / "photos"
    for path in sorted(photos.iterdir())[1:]:
        path.unlink()
    with pytest.raises(UserError, match="no image is left to train on"):
        start()
    Image.new("RGB", (12, 80)).save(photos / "small.png")
    with pytest.raises(UserError, match="crops of 16 do not fit an image whose side is 12"):
        start()
    (photos / "small.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match=r"small\.png"):
        start()
    (photos / "small.png").unlink()
    (photos / "0.png").unlink()
    with pytest.raises(UserError, match="holds no images"):
        start()


# The verb


def test_the_verb_trains_to_the_end_and_writes_json(place, capsys):
    assert run("--data", "data", "--json", "out/result.json") == 0
    result = json.loads((place / "out" / "result.json").read_text())
    assert (result["step"], result["finished"]) == (12, True)
    assert capsys.readouterr().out == "finished: step 12 of 12 in runs/tiny\n"
    assert load_student(place / "runs" / "tiny" / "student.safetensors").config.widths == (16, 32)


def test_the_verb_stops_and_goes_on(place, capsys, monkeypatch):
    assert run("--data", "data", "--max-minutes", "0") == 0
    assert capsys.readouterr().out == (
        "stopped; run the same command to go on: step 1 of 12 in runs/tiny\n"
    )
    monkeypatch.setenv("CPL_EDGE_TRAIN_DATA", "data")
    assert run("--max-minutes", "0") == 0
    assert "step 2 of 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--data FOLDER"),
        (["--data", "nowhere"], "no folder nowhere/photos"),
        (["--data", "data", "--steps", "0"], "--steps"),
        (["--data", "data", "--threads", "0"], "--threads"),
        (["--data", "data", "--images-every", "-1"], "--images-every"),
        (["--data", "data", "--max-minutes", "soon"], "--max-minutes"),
        (["--data", "data", "--device", "tpu"], "no device 'tpu'"),
        (["--data", "data", "--out", "tiny.toml"], "tiny.toml cannot be a run folder"),
        (["--data", "data", "--recipe", "none.toml"], "none.toml does not exist"),
    ],
)
def test_mistakes_end_with_2_and_one_line(place, capsys, argv, message):
    assert run(*argv) == 2
    assert message in error_line(capsys)


def test_an_exploding_training_ends_with_1(place, capsys):
    (place / "tiny.toml").write_text("lr = 1e30\n" + RECIPE, encoding="utf-8")
    assert run("--data", "data") == 1
    assert "lower the learning rate" in error_line(capsys)


# The same verb in a process of its own, which waits for its end at the start of step 8.
VICTIM = """
import time
from cpl_edge.train.loop import Trainer
step = Trainer.train_step
def train_step(self):
    if self.step == 8:
        print("here", flush=True)
        time.sleep(600)
    return step(self)
Trainer.train_step = train_step
from cpl_edge.train.__main__ import main
main(["--recipe", "tiny.toml", "--data", "data", "--out", "killed"])
"""


def test_a_killed_process_is_resumed_to_the_same_end(place):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "here\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    killed, whole = place / "killed", place / "runs" / "tiny"
    assert torch.load(killed / "checkpoint.pt", weights_only=True)["step"] == 5
    assert not (killed / "student.safetensors").exists()

    assert run("--data", "data", "--out", "killed") == 0
    assert run("--data", "data") == 0
    mine, theirs = (load_student(f / "student.safetensors").state_dict() for f in (killed, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    rows = [
        [{**json.loads(line), "seconds": 0} for line in (f / "log.jsonl").read_text().splitlines()]
        for f in (killed, whole)
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [4, 8, 12]
