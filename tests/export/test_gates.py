"""Each gate passes a good figure and fails a bad one with its likely cause."""

from dataclasses import replace

import pytest

from cpl_edge.errors import UserError
from cpl_edge.export import gates
from cpl_edge.export.gate import Build, at_least, at_most
from cpl_edge.export.gates import EXECUTED, GATES, run_gates
from cpl_edge.export.measurement import Measurement, Row
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS, Inspection

GOOD = Row("coffee", "noise", 1e-6, 120.0, 110.0, 20.0, 29.0, 29.0, (0, 0), "")


class Program:
    info = "as converted"
    entries = dict.fromkeys(("forward", "route", "restore"))


def build_of(rows, target="onnx", precision="fp32", info="as converted", inspection=None):
    (recipe,) = read_recipes(target, precision=precision)
    build = Build(recipe, TARGETS[target], None, Program(), None, [])
    build.__dict__["measurement"] = Measurement(info, rows, 1.0, {"forward": 2.0})
    build.__dict__["inspection"] = inspection
    return build


def test_every_target_has_gates():
    assert list(GATES) == list(TARGETS)
    assert all(set(EXECUTED) <= set(listed) for listed in GATES.values())


def test_a_good_build_passes_everything():
    results = run_gates(build_of([GOOD] * 20))
    assert [result.name for result in results] == [gate.__name__ for gate in EXECUTED]
    assert all(result.passed for result in results)


@pytest.mark.parametrize(
    ("gate", "bad", "figure", "why"),
    [
        ("interface", {"problem": "forward gives NaN"}, "forward gives NaN", "overflow"),
        ("parity", {"max_abs": 2e-4}, 2e-4, "converter changed the function"),
        ("parity", {"max_abs": float("inf")}, "not finite", "converter changed"),
        ("drop_worst", {"build_db": 28.9}, pytest.approx(0.1), "coffee with haze loses most"),
        ("routing", {"selected": (1, 0)}, 0.95, "the router must run in fp32"),
    ],
)
def test_one_bad_crop_in_twenty_fails_its_gate(gate, bad, figure, why):
    rows = [GOOD] * 19 + [replace(GOOD, degradation="haze", **bad)]
    (result,) = [r for r in run_gates(build_of(rows)) if r.name == gate]
    assert result.passed is False
    assert result.figure == figure
    assert why in result.why


def test_the_mean_drop_is_of_the_degradation_that_loses_most():
    haze = replace(GOOD, degradation="haze", build_db=28.95)
    rows = [GOOD] * 10 + [haze, replace(haze, build_db=29.0)]
    result = gates.drop_mean(build_of(rows))
    assert result.figure == pytest.approx(0.025)
    assert result.passed is False
    assert "haze crops lose most" in result.why


def test_a_difference_is_blamed_on_another_selection():
    rows = [GOOD, replace(GOOD, max_abs=0.5, selected=(2, 0))]
    assert "another prompt was selected for coffee with noise" in gates.parity(build_of(rows)).why


def test_half_precision_is_held_to_decibels():
    build = build_of([GOOD, replace(GOOD, parity_db=49.0, residual_db=39.0)], "coreml", "fp16")
    assert (gates.parity(build).figure, gates.parity(build).limit) == (49, 50)
    assert gates.parity(build).passed is False
    assert gates.residual(build).passed is False
    good = build_of([replace(GOOD, parity_db=51.0, residual_db=41.0)], "coreml", "fp16")
    assert gates.parity(good).passed
    assert gates.residual(good).passed


def test_in_full_precision_the_residual_is_only_reported():
    result = gates.residual(build_of([replace(GOOD, residual_db=1.0)]))
    assert (result.passed, result.limit, result.figure) == (True, None, 1.0)


def test_metadata_must_equal_the_description():
    assert gates.metadata(build_of([GOOD])).passed
    assert gates.metadata(build_of([GOOD], info="another")).passed is False


def test_operators_outside_the_accelerator_are_listed():
    inspection = Inspection({}, outside={"forward": ["TOPK_V2"], "route": []})
    result = gates.delegation(build_of([GOOD], "litert", inspection=inspection))
    assert result.passed is False
    assert result.figure == 1
    assert result.why == "XNNPACK does not take forward: TOPK_V2"
    clean = Inspection({}, outside={"forward": []}, partitions={"forward": 1})
    assert gates.delegation(build_of([GOOD], "litert", inspection=clean)).passed


def test_operators_that_a_gpu_refuses_are_listed():
    inspection = Inspection({}, unportable={"restore": ["TRANSPOSE"]})
    result = gates.portability(build_of([GOOD], "litert", inspection=inspection))
    assert result.passed is False
    assert "restore: TRANSPOSE" in result.why


def test_a_file_that_cannot_be_opened_fails(monkeypatch):
    def broken(self):
        raise UserError("the file is damaged")

    build = build_of([GOOD])
    del build.__dict__["measurement"]
    monkeypatch.setattr(Build, "measurement", property(broken))
    first, *others = run_gates(build)
    assert (first.name, first.passed, first.why) == ("opens", False, "the file is damaged")
    assert {result.passed for result in others} == {None}


def test_without_a_router_nothing_is_routed(monkeypatch):
    monkeypatch.setattr(Program, "entries", {"forward": None})
    assert "routing" not in {result.name for result in run_gates(build_of([GOOD]))}


def test_limits_are_inclusive():
    assert at_most("a", 1.0, 1.0, "bad", "fine").why == "fine"
    assert at_most("a", 1.1, 1.0, "bad", "fine").why == "bad"
    assert at_least("a", 1.0, 1.0, "bad", "fine").passed
    assert at_least("a", 0.9, 1.0, "bad", "fine").passed is False
