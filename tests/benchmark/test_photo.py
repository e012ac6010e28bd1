import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cpl_edge.benchmark import photo
from cpl_edge.benchmark.__main__ import main
from cpl_edge.errors import CplEdgeError

pytest.importorskip("ai_edge_litert")
TOYS = Path(__file__).parents[1] / "runtimes" / "toys.py"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("toys", TOYS)
    toys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toys)
    return toys.write(tmp_path_factory.mktemp("toy") / "toy.tflite")


def run(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code or 0, *capsys.readouterr()


def test_time_and_memory_come_from_a_fresh_process(toy, tmp_path, capsys):
    report = tmp_path / "report.json"
    code, out, _ = run(
        capsys, "--photo", "900x700", "--model", toy, "--threads", 1, "--json", report
    )
    assert code == 0 and "900x700" in out
    values = json.loads(report.read_text())
    assert values["tiles"] == 59 * 113
    assert values["ratio"] == values["total_seconds"] / values["network_seconds"] > 1
    # At least the photo and its result, and nothing of what this process holds.
    assert values["beyond_mb"] > 2 * 900 * 700 * 3 / 1e6 * 0.9
    assert 10 < values["baseline_mb"] < 300


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--photo", "big"], "give --photo WIDTHxHEIGHT"),
        (["--photo", "0x10"], "give --photo WIDTHxHEIGHT"),
        (["--photo", "8x8", "--model", "missing.tflite"], "missing.tflite does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, words, reason):
    code, _, err = run(capsys, *words)
    assert code == 2 and reason in err and "Traceback" not in err


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(CplEdgeError, match=r"gone\.tflite does not exist"):
        photo.measure_photo(tmp_path / "gone.tflite", 10, 10, 1)


def test_the_synthetic_photo_is_the_same_every_time():
    image = photo.synthetic_photo(40, 30)
    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, photo.synthetic_photo(40, 30))
    assert image.std() > 10


@pytest.mark.skipif(sys.platform == "win32", reason="not measured on Windows")
def test_memory_readers_see_what_is_allocated():
    now, peak = photo.memory_readers()
    before = now()
    block = np.ones(30_000_000, np.uint8)
    assert now() - before > 20e6 or now() == peak()
    assert peak() >= now() > block.nbytes
