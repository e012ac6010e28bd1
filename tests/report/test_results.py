import json
import shutil
from pathlib import Path

import pytest

from cpl_edge.errors import UserError
from cpl_edge.report.results import read_results

ROOT = Path(__file__).parents[2]


def test_every_kind_is_known_for_what_it_is(found):
    assert found.problems == []
    counts = {name: len(value) for name, value in vars(found).items()}
    assert counts == {
        "students": 1,
        "builds": 4,
        "evaluations": 4,
        "latency": 3,
        "photos": 1,
        "single_photos": 1,
        "profiles": 1,
        "prompts": 1,
        "searches": 1,
        "problems": 0,
        "files": 15,
    }
    assert found.students[0].file == "weights/s.json"


def test_committed_results_are_all_read():
    committed = read_results(ROOT / "benchmarks/results", ROOT / "weights")
    assert committed.problems == []
    assert committed.builds
    assert committed.evaluations
    assert committed.students


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "x/bad.json is no JSON: Expecting property name"),
        (b"\xff", "x/bad.json is no JSON: 'utf-8' codec can't decode"),
        (b"[]", "x/bad.json is no result that this report knows (it holds list)"),
        (b'{"a": 1, "b": 2}', "x/bad.json is no result that this report knows (it holds ['a'"),
        (b'[{"gates": [], "recipe": {}}]', "x/bad.json is damaged or of another version: machine"),
        (b'{"kind": "latency", "rows": []}', "x/bad.json is damaged or of another version: format"),
    ],
)
def test_a_bad_file_is_one_line_and_the_others_are_read(content, line, tmp_path, golden):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/bad.json").write_bytes(content)
    shutil.copy(golden / "results/photo.json", tmp_path)
    found = read_results(tmp_path, tmp_path / "none")
    assert len(found.problems) == 1
    assert found.problems[0].startswith(line)
    assert "\n" not in found.problems[0]
    assert found.files == ["photo.json"]


def test_a_latency_run_of_another_version_is_refused(tmp_path, golden):
    name = "latency-default-20260101-100000.json"
    values = json.loads((golden / "results" / name).read_text("utf-8"))
    (tmp_path / name).write_text(json.dumps(values | {"format": 2}), "utf-8")
    found = read_results(tmp_path, tmp_path / "none")
    assert found.latency == []
    assert found.problems == [
        f"{name} is damaged or of another version: format: Input should be 1",
    ]


def test_no_folder_is_told(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*none: give --results"):
        read_results(tmp_path / "none", tmp_path)
