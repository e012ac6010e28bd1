import json
from types import SimpleNamespace

import pytest

from cpl_edge.benchmark.suites import Rule
from cpl_edge.errors import UserError
from cpl_edge.export.build import export
from cpl_edge.export.recipe import read_recipes
from cpl_edge.models.zoo import create_student, save_student
from cpl_edge.runtimes import open_runtime
from cpl_edge.search import latency as module
from cpl_edge.search.latency import FILE, TARGETS, measure_latency, with_latency

RULE = Rule(queries=3, seconds=0.1, rounds=1, warmup=0)


@pytest.fixture
def bench(monkeypatch):
    """Export and timing replaced: each file takes as many milliseconds as its place."""
    exported = []

    def export(recipes, weights, folder, data, keep_refused):
        assert keep_refused
        if "none-0" in weights:
            raise UserError("no such shape")
        exported.append(weights)
        made = []
        for recipe in recipes:
            path = folder / recipe.build_name("student")
            path.mkdir(parents=True)
            (path / "model.tflite").touch()
            (path / "card.json").touch()
            made.append(SimpleNamespace(folder=path))
        return made

    def run_latency(suite, builds):
        assert suite.threads == (1,)
        assert all(build.path.is_file() for build in builds)
        rows = [
            SimpleNamespace(name=build.name, p50_ms=float(n), model_dump=lambda mode: {})
            for n, build in enumerate(builds, start=1)
        ]
        rows[-1].p50_ms = None  # one that could not be run
        return SimpleNamespace(rows=rows)

    monkeypatch.setattr(module, "export", export)
    monkeypatch.setattr(module, "run_latency", run_latency)
    return exported


def test_the_first_run_of_each_candidate_is_timed(bench, make_run, tmp_path):
    runs = [make_run("none"), make_run("a"), make_run("b", 1), make_run("a", 1)]
    measure_latency(runs, tmp_path, None, RULE)
    assert [path.split("/")[-2] for path in bench] == ["a-0", "b-1"]
    none, a0, b1, a1 = with_latency(runs, tmp_path)
    assert (none.latency_ms, none.not_exported) == ({}, "no such shape")
    names = [" ".join(target) for target in TARGETS]
    assert a0.latency_ms == a1.latency_ms == dict(zip(names, (1.0, 2.0, 3.0, 4.0), strict=True))
    assert b1.latency_ms == dict(zip(names[:3], (5.0, 6.0, 7.0), strict=True))
    assert a0.not_exported is None


def test_nothing_that_can_be_exported_is_no_error(bench, make_run, tmp_path):
    measure_latency([make_run("none")], tmp_path, None, RULE)
    assert json.loads((tmp_path / FILE).read_text())["measured_ms"] == {}


def test_without_a_measurement_runs_stay_as_they_are(make_run, tmp_path):
    runs = (make_run("a"), make_run("b"))
    assert with_latency(runs, tmp_path) == runs


@pytest.mark.parametrize(
    "shape", [{"prompt": "soft", "levels": 1}, {"prompt": "none"}, {"rank": 2}]
)
def test_model_files_are_not_made_of_students_that_select_in_another_way(shape, tmp_path):
    weights = tmp_path / "other.safetensors"
    save_student(create_student("nano", shape=shape), weights)
    with pytest.raises(UserError, match="this one is for comparison only"):
        export(read_recipes("litert"), str(weights), tmp_path / "builds")
    with pytest.raises(UserError, match="selects prompts in another way"):
        open_runtime(weights)
