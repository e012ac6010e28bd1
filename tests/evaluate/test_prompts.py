"""The prompt report, with a network whose selections and restorations are known."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.data import coffee

torch = pytest.importorskip("torch")

from cpl_edge.evaluate import prompts  # noqa: E402
from cpl_edge.evaluate.__main__ import main  # noqa: E402
from cpl_edge.evaluate.prompts import judge_forced, report_prompts  # noqa: E402
from cpl_edge.evaluate.prompts_networks import Look  # noqa: E402
from cpl_edge.evaluate.prompts_picture import draw_prompts  # noqa: E402
from cpl_edge.evaluate.prompts_report import print_prompts, prompts_to_json  # noqa: E402

SUITE = """
name = "tiny"
about = "a test"
images = "clean"
[[degradations]]
kind = "gaussian"
label = "noise 25"
sigma = 25
[[degradations]]
kind = "synthetic"
label = "dark"
degradation = "lowlight"
[[degradations]]
kind = "clean"
label = "photo"
"""


@pytest.fixture
def data(tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "suite.toml").write_text(SUITE)
    for i in range(4):
        image = np.ascontiguousarray(coffee()[i * 60 : i * 60 + 34, 200:248])
        Image.fromarray(image).save(tmp_path / "clean" / f"{i}.png")
    return tmp_path


class Stub:
    """Tells dark images from others; each prompt adds its own error."""

    name, kind, multiple, sites = "stub.safetensors", "student", 16, ("router",)
    choices = (("noise", "lowlight", "rain"),)

    def __init__(self, separates=True):
        self.separates = separates

    def restore(self, x_BCHW):
        dark = self.separates and float(x_BCHW.mean()) < 0.2
        p_G = np.array([0.0, 1, 0] if dark else [0.5, 0, 0.5])
        w_N = np.zeros(6)
        w_N[2 if dark else 0] = 1
        return x_BCHW, (Look(p_G, w_N, np.array([[0.9, 0.1]] * 3)),)

    def targets(self, looks):
        assert list(looks) == ["noise 25", "dark", "photo"]
        assert [len(images) for images in looks.values()] == [4, 4, 4]
        return {name: i for i, name in enumerate(self.choices[0])}

    def forced(self, x_BCHW, looks, target):
        right = 1 if looks[0].w_N[2] else 0
        return x_BCHW * (1 - 0.4 * abs(target - right))


@pytest.fixture
def report(data, monkeypatch):
    def make(network):
        monkeypatch.setattr(prompts, "open_network", lambda model: network)
        return report_prompts("stub", str(data / "suite.toml"), data)

    return make


def test_a_site_that_separates(report):
    (site,) = report(Stub()).sites
    assert site.share_DG == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert site.weight_DG == site.share_DG  # levels are added up
    assert site.levels_DM == [[0.9, 0.1]] * 3
    assert site.entropy_D == [1, 0, 1]
    assert site.pinned_D == ["noise", "lowlight", "noise"]
    bits = -(2 / 3) * math.log2(2 / 3) - (1 / 3) * math.log2(1 / 3)
    assert site.information == pytest.approx(bits) == pytest.approx(site.usage_entropy)
    assert 0.3 < site.separation < 0.7 and 0 < site.chance < bits


def test_a_site_that_collapsed(report):
    (site,) = report(Stub(separates=False)).sites
    assert site.share_DG == [[1, 0, 0]] * 3
    assert (site.information, site.usage_entropy, site.separation) == (0, 0, 0)


def test_forced_prompts(report):
    made = report(Stub())
    forced = made.forced
    assert forced.columns == ("noise", "lowlight", "rain")
    assert forced.own_D == [0, 1, None] and (forced.wins, forced.judged) == (2, 2)
    assert 20 < forced.before_D[0] < 21 and forced.routed_D == forced.before_D
    # Own prompts leave the image as the stub's router would.
    assert forced.forced_DC[0][0] == pytest.approx(forced.routed_D[0])
    assert forced.forced_DC[1][1] == pytest.approx(forced.routed_D[1])
    # What is wrong with a photo is only what the wrong prompts add; infinity stays out of JSON.
    assert forced.before_D[2] == math.inf and forced.margin_D[2] is None
    for d in range(2):
        row = list(forced.forced_DC[d])
        own = row.pop(d)
        assert forced.margin_D[d] == pytest.approx(own - max(row))
        assert forced.cost_D[d] == pytest.approx(own - np.mean(row))
    read = json.loads(json.dumps(prompts_to_json(made), allow_nan=False))
    assert read["forced"]["before_D"][2] is None and read["images"] == [4, 4, 4]
    assert read["sites"][0]["pinned_D"] == ["noise", "lowlight", "noise"]


def test_a_tie_is_no_win():
    values = np.array([[30.0, 20, 30], [10, 12, 11], [9, 8, 7]])
    judged = judge_forced(("a", "b", "c"), [1.0] * 3, [1.0] * 3, values, [0, 1, None])
    assert (judged.wins, judged.judged) == (1, 2)
    assert judged.margin_D == [0, 1, None]
    assert judged.cost_D == [5, 1.5, None]
    alone = judge_forced(("a",), [1.0], [1.0], values[:1, :1], [0])
    assert (alone.wins, alone.margin_D) == (0, [None])


def test_tables_say_collapse_or_separation(report):
    made = report(Stub())
    file = io.StringIO()
    print_prompts(made, Console(file=file, width=150))
    out = file.getvalue()
    words = " ".join(out.split())
    assert "prompts of stub.safetensors (student) on tiny: a test" in out
    dark = [line.split() for line in out.splitlines() if line.startswith("dark")]
    assert dark[0] == ["dark", ".", "100%", ".", "0.00", "0.90", "0.10"]
    assert dark[1][4] == f"[{made.forced.forced_DC[1][1]:.2f}]"
    site = made.sites[0]
    assert f"separation {site.separation:.2f}" in words and "2 of 3 prompts used" in words
    assert "the right prompts win for 2 of 2 degradations" in out
    photo = next(line for line in out.splitlines() if "same" in line)
    assert photo.split()[:4] == ["photo", "same", "same", "same"]


def test_the_picture_shows_shares_wins_and_losses(report):
    made = report(Stub())
    picture = draw_prompts(made)
    pixels = np.asarray(picture).reshape(-1, 3)
    colours = {tuple(c) for c in np.unique(pixels, axis=0).tolist()}
    assert (24, 92, 170) in colours  # a prompt selected for every image
    assert (20, 130, 70) in colours  # the frame of a win
    assert any(r > g + 10 and r > b + 10 for r, g, b in colours)  # a wrong prompt's loss
    none = draw_prompts(report(Stub(separates=False)))
    assert none.size == picture.size
    assert not np.array_equal(np.asarray(none), np.asarray(picture))


def test_through_the_command(data, capsys, tmp_path):
    from cpl_edge.models.zoo import create_student, save_student

    save_student(create_student("nano"), tmp_path / "random.safetensors")
    arguments = ["--prompts", "--model", str(tmp_path / "random.safetensors"), "--limit", "2"]
    arguments += ["--suite", str(data / "suite.toml"), "--data", str(data)]
    arguments += ["--json", str(tmp_path / "r.json"), "--picture", str(tmp_path / "new/p.png")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "PSNR dB with forced prompts" in capsys.readouterr().out
    read = json.loads((tmp_path / "r.json").read_text())
    assert read["images"] == [2, 2, 2] and len(read["forced"]["forced_DC"][0]) == 5
    with Image.open(tmp_path / "new/p.png") as picture:
        assert picture.mode == "RGB" and picture.width > 700


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--picture", "x.png"], "--picture draws the report of --prompts: add --prompts"),
        (["--prompts", "--degradation", "oracle"], "leave --degradation out"),
        (["--prompts", "--model", "weights/s.tflite", "--suite", "bundled"], "reads weights"),
    ],
)
def test_mistakes_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1
