"""A phone by adb, played by a stand-in."""

import json

import pytest

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.profile.device import Adb, profile_on_phone

PHONE = {"words": ["devices"], "out": "List of devices attached\nemulated0\tdevice\n"}


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"\x7fELF and so on")
    return path


@pytest.fixture
def dialogue(golden):
    steps = json.loads((golden / "adb.json").read_text())
    for step in steps:
        if "print_file" in step:
            step["print_file"] = str(golden / step["print_file"])
    return steps


def test_push_run_import_and_clean_up(adb, dialogue, binary, golden_model):
    adb(dialogue)
    profile = profile_on_phone(golden_model(".tflite"), binary, "restore", 2, 50)
    assert adb() == []  # every step was asked for, in order
    assert profile.device.name == "Nobody Stand-in 1" and not profile.device.here
    assert profile.device.details == {"android": "15", "abi": "arm64-v8a"}
    assert (
        profile.calls[0].mean_ms == pytest.approx(12.7459)
        and profile.source == "adb, benchmark_model"
    )
    assert {left.operator for left in profile.outside} == {"GATHER_ND"}
    assert any("never with a phone" in note for note in profile.notes)


def test_an_etdump_is_pulled(adb, dialogue, binary, golden, golden_model):
    pytest.importorskip("executorch.devtools")
    model = golden_model(".pte")
    steps = [*dialogue[:3], {"words": ["-s", "emulated0", "push", "model.pte"]}, *dialogue[4:10]]
    steps += [{"words": ["-s", "emulated0", "shell", "--method_name=restore"]}]
    pull = ["-s", "emulated0", "pull", "/data/local/tmp/cpl_edge/profile.etdp"]
    steps += [{"words": pull, "write": str(golden / "etdump.etdp")}, dialogue[11]]
    adb(steps)
    profile = profile_on_phone(model, binary, "restore", 1, 2)
    assert adb() == [] and profile.kind == "etdump" and profile.calls[0].runs == 2


def test_the_phone_is_cleaned_after_a_failure(adb, dialogue, binary, golden_model):
    failed = {"words": ["-s", "emulated0", "push"], "code": 1, "err": "error: no space left"}
    adb([*dialogue[:2], failed, dialogue[-1]])
    with pytest.raises(CplEdgeError, match=r"adb push .* failed \(1\): error: no space left"):
        profile_on_phone(golden_model(".tflite"), binary, "restore", 2, 50)
    assert adb() == []


def test_the_program_fails(adb, dialogue, binary, golden_model):
    crash = {"words": ["-s", "emulated0", "shell"], "code": 139, "err": "Segmentation fault"}
    adb([*dialogue[:10], crash, dialogue[-1]])
    with pytest.raises(CplEdgeError, match=r"failed \(139\): Segmentation fault"):
        profile_on_phone(golden_model(".tflite"), binary, "restore", 2, 50)


def test_no_adb(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no adb: install Android's platform-tools"):
        Adb()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("List of devices attached\n", "adb sees no phone"),
        ("List of devices attached\na\tdevice\nb\tdevice\n", r"several phones \(a, b\)"),
        ("List of devices attached\na\tunauthorized\n", "a is unauthorized: unlock"),
        ("* daemon started successfully\nList of devices attached\na\toffline\n", "a is offline"),
    ],
)
def test_phones_that_cannot_be_used(adb, out, message):
    adb([{"words": ["devices"], "out": out}])
    with pytest.raises(UserError, match=message):
        Adb()


def test_words_are_quoted_for_the_phones_shell(adb):
    adb([PHONE, {"words": ["-s", "emulated0", "shell", "echo 'a; rm -rf b'"], "out": "said"}])
    assert Adb().shell("echo", "a; rm -rf b").strip() == "said"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("missing", None, "does not exist"), ("script", b"#!/bin/sh\n", "no program for Android")],
)
def test_the_benchmark_program(tmp_path, golden_model, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        profile_on_phone(golden_model(".tflite"), path, "restore", 1, 1)


def test_builds_that_no_program_runs(binary, golden_model):
    with pytest.raises(UserError, match=r"give a \.tflite or a \.pte build"):
        profile_on_phone(golden_model(".onnx"), binary, "restore", 1, 1)
