"""Shipped files are found in a checkout and in an installed wheel alike."""

import json

import pytest

from cpl_edge import shipped as module
from cpl_edge.errors import UserError
from cpl_edge.runtimes import find_model, open_runtime
from cpl_edge.shipped import shipped, shipped_folder, shipped_names


@pytest.fixture(params=["checkout", "wheel"])
def place(request, tmp_path, monkeypatch):
    """A pretended installation with two weights; yields the folder that holds them."""
    package = tmp_path / "cpl_edge"
    root = tmp_path if request.param == "checkout" else package / "_shipped"
    weights = root / "weights"
    weights.mkdir(parents=True)
    for name in ("s.safetensors", "m.safetensors", "s.json", "README.md"):
        (weights / name).touch()
    monkeypatch.setattr(module, "PACKAGE", package)
    return weights


def test_finds_a_file(place):
    assert shipped("weights", "s.safetensors") == place / "s.safetensors"


def test_lists_names_without_suffix(place):
    assert shipped_names("weights", ".safetensors") == ["m", "s"]
    assert shipped_names("train", ".toml") == []


def test_unknown_name_gets_the_nearest(place):
    with pytest.raises(UserError, match=r"did you mean s\.safetensors"):
        shipped("weights", "s.safetensor")


def test_name_unlike_any_gets_all(place):
    with pytest.raises(UserError, match=r"choose from m\.safetensors, s\.json, s\.safetensors"):
        shipped("weights", "qqqqqqq")


def test_nothing_outside_the_folder_is_reachable(place):
    (place.parent / "secret.json").touch()
    with pytest.raises(UserError):
        shipped("weights", "../secret.json")


def test_a_wheel_never_looks_beside_the_package(tmp_path, monkeypatch):
    # Another distribution may own a top-level "train" in site-packages.
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "foreign.toml").touch()
    (tmp_path / "cpl_edge" / "_shipped").mkdir(parents=True)
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "cpl_edge")
    assert shipped_names("train", ".toml") == []


def test_the_default_model_ships():
    assert shipped_folder("weights").joinpath("s.tflite").is_file()


@pytest.mark.parametrize("ending", ["", "-dynamic"])
@pytest.mark.parametrize("student", shipped_names("weights", ".safetensors"))
def test_every_student_comes_as_fp32_and_as_int8(student, ending):
    card = json.loads(shipped("weights", f"{student}.json").read_text("utf-8"))
    runtime = open_runtime(find_model(student + ending))
    info = runtime.info
    runtime.close()
    assert (info.student, info.digest) == (student, card["digest"])
    assert info.precision == (ending.removeprefix("-") or "fp32")
    assert info.routing == ("split" if info.own else "auto")
    assert info.own == bool(card["config"].get("own"))
