import json

import pytest

from cpl_edge.benchmark import fingerprint as module
from cpl_edge.benchmark.fingerprint import busy_note, fingerprint


def test_the_machine_is_told_and_fits_json():
    found = json.loads(json.dumps(fingerprint()))
    assert {"processor", "cores", "features", "governor", "memory_mb", "load"} <= set(found)
    assert found["usable_cores"] <= found["cores"]


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("model name\t: X\nflags\t\t: fpu avx2 avx512_vnni\n", ["avx2", "avx512_vnni"]),
        ("Features\t: fp asimd asimddp i8mm\n", ["asimd", "asimddp", "i8mm"]),
        ("", []),
    ],
)  # fmt: skip
def test_features_of_x86_and_arm(monkeypatch, text, features):
    monkeypatch.setattr(module, "_read", lambda path: text or None)
    assert module._features() == features


@pytest.mark.parametrize(
    ("load", "busy"), [(0.0, False), (0.4, False), (0.6, True), (9.0, True), (None, False)]
)
def test_a_busy_machine_is_noted(load, busy):
    note = busy_note({"load": load, "cores": 2})
    assert (note is not None) == busy
    assert not busy or f"load {load}" in note
