import json

import pytest
from PIL import Image

from cpl_edge.benchmark.training import main, seconds_a_step
from cpl_edge.data.photos import bundled_photos


@pytest.fixture(name="image", scope="module")
def a_photo():
    return dict(bundled_photos())["coffee"][:48, :64]


@pytest.fixture(name="place")
def recipe_and_photos(image, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(image).save(tmp_path / "photos" / "a.png")
    (tmp_path / "tiny.toml").write_text(
        'network = "teacher"\nteacher = "cpl-tiny"\nfolders = ["photos"]\nnegatives = 2\n'
        'degradations = ["noise", "haze"]\nprecision = "fp32"\n',
        encoding="utf-8",
    )
    return tmp_path


def run(place, *words):
    small = ["--crop", "16", "--batch", "2", "--workers", "0", "--steps", "1", "--warm", "0"]
    with pytest.raises(SystemExit) as caught:
        main(["--data", str(place), *small, *words])
    return caught.value.code or 0


def test_the_verb_prints_and_writes_the_ratio(place, capsys):
    report = place / "report.json"
    assert run(place, "--recipe", str(place / "tiny.toml"), "--json", str(report)) == 0
    result = json.loads(report.read_text())
    speeds = list(result["images_per_second"].values())
    assert len(speeds) == 3 and min(speeds) > 0
    assert result["ratio"] == pytest.approx(speeds[1] / speeds[0], rel=0.01)
    assert result["batching"] == pytest.approx(speeds[1] / speeds[2], rel=0.01)
    assert (result["crop"], result["batch"]) == (16, 2)
    assert f"{result['ratio']:9.2f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "student-s"], "choose a teacher's recipe"),
        (["--recipe", "cpl-tiny", "--device", "tpu"], "no device 'tpu'"),
        (["--recipe", "cpl-tiny"], "no folder"),
    ],
)
def test_mistakes_end_with_2(place, capsys, words, message):
    assert run(place, *words) == 2
    assert message in capsys.readouterr().err


def test_loops_are_measured_in_turns():
    calls = []
    loops = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = seconds_a_step(loops, count=7, warm=1)
    assert "".join(calls) == "ab" + "aaaaabbbbb" + "aabb"
    assert list(seconds) == ["a", "b"]
    assert all(s >= 0 for s in seconds.values())
