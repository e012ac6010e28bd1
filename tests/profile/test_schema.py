"""The table's schema, and reading what --json wrote."""

import json

import pytest
from pydantic import ValidationError

from cpl_edge.errors import UserError
from cpl_edge.profile.report import collect
from cpl_edge.profile.schema import Profile, Row, read_profiles


@pytest.fixture
def path(tmp_path):
    rows = (Row(entry="forward", name="a", operator="Conv", microseconds=1.5, share=1),)
    written = collect([Profile(kind="litert", source="x", rows=rows)])
    path = tmp_path / "p.json"
    path.write_text(written.model_dump_json())
    return path


def test_round_trip(path):
    assert read_profiles(path).profiles[0].rows[0].microseconds == 1.5


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"format": 2}, "format"),
        ({"profiles": [{"kind": "x"}]}, r"profiles\.0"),
        ({"more": 1}, "more"),
    ],
)
def test_another_version(path, change, where):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=f"no profile of this version .{where}"):
        read_profiles(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_profiles(tmp_path / "nothing.json")


@pytest.mark.parametrize("values", [{"share": 1.1}, {"microseconds": -1}, {"gops": float("nan")}])
def test_impossible_figures(values):
    with pytest.raises(ValidationError):
        Row(entry="forward", name="a", operator="b", **values)
