import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cpl_edge.errors import UserError
from cpl_edge.models.shape import PARTS
from cpl_edge.models.zoo import STUDENTS, create_student, save_student
from cpl_edge.train.card import main, make_card
from cpl_edge.train.start import train

RECIPE = """
student = "nano"
folders = ["photos"]
holdout = 2
steps = 1
[[stages]]
crop = 16
batch = 5
"""


@pytest.fixture(name="run", scope="module")
def finished_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("card")
    (place / "photos").mkdir()
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        image_HWC = noise.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(image_HWC).save(place / "photos" / f"{name}.png")
    (place / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    result = train(str(place / "tiny.toml"), place, place / "run", None, 1, "cpu", None)
    assert result["finished"]
    return place / "run"


def digest(run):
    return hashlib.sha256((run / "student.safetensors").read_bytes()).hexdigest()


def evaluation(folder, digest, **changes):
    """A file as the evaluation writes it, as far as a card reads it."""
    result = {
        "suite": {"name": "bundled", "about": "x"},
        "model": {"file": "s.tflite", "digest": digest},
        **{key: key for key in ("degradation", "threads", "limit", "machine", "versions", "date")},
        "summary": {"haze": {"psnr": 20.0}},
        "rows": [1, 2, 3],
        **changes,
    }
    path = folder / "evaluation.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    return path


def test_a_card_says_where_the_weights_come_from(run):
    card = make_card(run, [], "research only", ["a limit"])
    assert card["digest"] == digest(run)
    assert card["student"] == "nano"
    assert card["config"]["widths"] == STUDENTS["nano"].widths
    assert (card["parameters"], card["macs_256x256"]) == (87_064, 553_812_704)
    assert card["training"]["recipe"]["steps"] == 1
    assert card["training"]["terms"] == "research only"
    assert [row["step"] for row in card["training"]["curve"]] == [1]
    assert card["limits"] == ["a limit"]
    assert card["figures"] == []
    json.dumps(card)


def test_networks_of_each_degradation_cost_parameters_and_no_time(run, tmp_path):
    for name in ("run.json", "log.jsonl"):
        shutil.copy(run / name, tmp_path)
    save_student(create_student("nano", shape={"own": PARTS}), tmp_path / "student.safetensors")
    card = make_card(tmp_path, [], "", [])
    plain = make_card(run, [], "", [])
    assert card["config"]["own"] == PARTS
    # Of fewer prompts to select from even a little less.
    assert card["macs_256x256"] == pytest.approx(plain["macs_256x256"], rel=1e-4)
    assert 3 * plain["parameters"] < card["parameters"] < 5 * plain["parameters"]
    json.dumps(card)


def test_a_card_keeps_the_summaries_of_its_evaluations(run, tmp_path):
    card = make_card(run, [evaluation(tmp_path, digest(run))], "", [])
    assert len(card["figures"]) == 1
    figure = card["figures"][0]
    assert (figure["suite"], figure["model"]) == ("bundled", "s.tflite")
    assert figure["summary"] == {"haze": {"psnr": 20.0}}
    assert "rows" not in figure


def test_an_evaluation_of_other_weights_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="measured other weights"):
        make_card(run, [evaluation(tmp_path, "0" * 64)], "", [])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"digest": "x"}}'])
def test_what_is_no_evaluation_is_refused(run, tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    for name in (path, tmp_path / "none.json"):
        with pytest.raises(UserError, match="is no result of"):
            make_card(run, [name], "", [])


def test_an_unfinished_run_has_no_card(tmp_path):
    with pytest.raises(UserError, match="holds no finished training"):
        make_card(tmp_path, [], "", [])


def test_the_command_writes_the_card(run, tmp_path, capsys):
    arguments = ["--run", str(run), "-o", str(tmp_path / "s.json"), "--terms", "research only"]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--evaluation", str(evaluation(tmp_path, digest(run)))])
    assert caught.value.code == 0
    card = json.loads((tmp_path / "s.json").read_text())
    assert card["training"]["terms"] == "research only"
    assert len(card["figures"]) == 1
    assert card["student"] == "s"  # the name it is shipped by; the preset stands in the recipe
    assert card["training"]["recipe"]["student"] == "nano"
    with pytest.raises(SystemExit) as caught:
        main(["--run", str(tmp_path), "-o", str(tmp_path / "none.json")])
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
