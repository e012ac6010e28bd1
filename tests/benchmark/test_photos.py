import json

import pytest

from cpl_edge.benchmark.photo import PhotoCost
from cpl_edge.benchmark.photos import memory_slope, photo_row, time_exponent
from cpl_edge.benchmark.schema import PhotoRun, read_run

SUITE = """
name = "tiny"
about = "toys"
full = { queries = 1, seconds = 1, rounds = 1, warmup = 0 }
quick = { queries = 1, seconds = 1, rounds = 1, warmup = 0 }
[photos]
sizes = ["60x40", "120x80"]
repeats = 1
"""


def cost(side, seconds, peak):
    return PhotoCost(side, side, 4, 2, seconds, seconds / 2, 100.0, peak)


def test_medians_of_the_repeats_count():
    row = photo_row([cost(1000, seconds, peak) for seconds, peak in ((9, 150), (1, 130), (2, 140))])
    assert (row.total_seconds, row.network_seconds, row.ratio) == (2, 1, 2)
    assert (row.peak_mb, row.beyond_mb, row.photo_mb, row.working_mb) == (140, 40, 6, 34)
    assert (row.megapixels, row.repeats) == (1, 3)


@pytest.mark.parametrize(("power", "slope"), [(1.0, 0.0), (1.5, 2.0)])
def test_growth_is_found(power, slope):
    rows = []
    for side in (1000, 2000, 4000):
        megapixels = side * side / 1e6
        peak = 100 + 6 * megapixels + 30 + slope * megapixels
        rows.append(photo_row([cost(side, 0.3 * megapixels**power, peak)]))
    assert time_exponent(rows) == pytest.approx(power, abs=1e-3)
    assert memory_slope(rows) == pytest.approx(slope, abs=1e-3)
    assert time_exponent(rows[:1]) is None and memory_slope(rows[:1]) is None


def test_a_run_from_the_command_to_the_file(make_build, run, tmp_path):
    suite = tmp_path / "tiny.toml"
    suite.write_text(SUITE)
    model, results = make_build("a"), tmp_path / "results"
    words = ["--photo-suite", "--suite", suite, "--model", model, "--results", results]
    code, out, err = run(*words, "--threads", 1, "--json", tmp_path / "copy.json")
    assert code == 0, err
    (path,) = results.iterdir()
    assert path.name.startswith("photos-tiny-") and "120x80" in out and "megapixels^" in out
    found = read_run(path, PhotoRun)
    assert [(row.width, row.threads) for row in found.rows] == [(60, 1), (120, 1)]
    assert found.model == "model.tflite" and found.digest == "0" * 64 and found.routing == ()
    assert json.loads((tmp_path / "copy.json").read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("[photos]", "[fotos]"), "unknown key 'fotos': did you mean 'photos'?"),
        (('"60x40"', '"60"'), "'60' is no size: write WIDTHxHEIGHT"),
        ((SUITE[SUITE.index("[photos]") :], ""), "has no photos: add a table [photos]"),
    ],
)
def test_mistakes_in_a_suite_are_told(make_build, run, tmp_path, changed, reason):
    suite = tmp_path / "tiny.toml"
    suite.write_text(SUITE.replace(*changed))
    words = ["--photo-suite", "--suite", suite, "--model", make_build("a"), "--results", tmp_path]
    code, _, err = run(*words)
    assert code == 2 and reason in err
