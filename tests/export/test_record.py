"""The list of refused builds that the command keeps."""

import json

import pytest

from cpl_edge.errors import UserError
from cpl_edge.export.record import read_record, record


def card(refused=(), student="s", precision="w8a8", **recipe):
    recipe = {"routing": "auto", "degradation": None, "size": [256, 256]} | recipe
    made = {"student": student, "recipe": {"target": "litert", "precision": precision} | recipe}
    return made | ({"refused": list(refused)} if refused else {})


def test_a_refused_build_is_entered_once_and_leaves_when_it_passes(tmp_path):
    path = tmp_path / "results" / "refused.json"
    rain = card(["parity"], routing="pinned", degradation="rain")
    record(path, [card(["parity"]), rain, card(precision="fp16")])
    assert read_record(path) == [card(["parity"]), rain]
    record(path, [card(["drop_mean"])])  # of the same name: the newer one counts
    assert {tuple(found["refused"]) for found in read_record(path)} == {("parity",), ("drop_mean",)}
    assert len(read_record(path)) == 2
    record(path, [card()])
    assert read_record(path) == [rain]


def test_builds_of_other_students_and_sizes_stay_apart(tmp_path):
    path = tmp_path / "refused.json"
    entries = [card(["a"]), card(["a"], student="nano"), card(["a"], size=[64, 72])]
    record(path, entries)
    assert read_record(path) == entries


@pytest.mark.parametrize("content", ["no JSON", '{"a": 1}', '[{"student": "s"}]', "[1]", "7"])
def test_another_file_is_not_overwritten(tmp_path, content):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"mine\.json is no record of refused builds"):
        record(path, [card(["parity"])])
    assert path.read_text() == content


def test_no_file_is_an_empty_record(tmp_path):
    path = tmp_path / "refused.json"
    assert read_record(path) == []
    record(path, [card()])
    assert json.loads(path.read_text()) == []
