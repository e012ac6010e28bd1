"""The verb as a user types it."""

import json

import pytest

from cpl_edge.profile.schema import read_profiles


def test_a_build_measured_here(verb, golden, tmp_path):
    table, markdown = tmp_path / "p.json", tmp_path / "sub" / "p.md"
    code, out, err = verb(
        golden / "model.tflite", "--entry", "route", "--runs", 2, "--json", table, "-o", markdown
    )
    assert code == 0 and err == ""
    assert "router.conv1" in out and "Nothing was left outside XNNPACK" in out
    assert "Run on this machine, not on a phone." in out
    written = read_profiles(table)
    assert written.profiles[0].calls[0].runs == 2
    text = markdown.read_text()
    assert text.startswith("# Profiles") and "| router.conv1 | Convolution" in text
    assert str(tmp_path) not in text and str(golden) not in table.read_text()


def test_the_android_apps_profile(verb, golden, tmp_path):
    markdown = tmp_path / "p.md"
    code, out, _ = verb("--import", golden / "android.json", "-o", markdown)
    assert code == 0
    assert "int8.onnx, onnx w8a8 auto, ONNX Runtime" in out and "JVM" in out
    assert "Not run on a phone here" in out and "no figures: damaged" in out
    restore = json.loads((golden / "android.json").read_text())["builds"][0]["entries"]["restore"]
    assert f"{restore['p50_ms']:.3f}" in out
    assert f"| restore | 64 | {restore['mean_ms']:.3f}" in markdown.read_text()


def test_an_imported_file_with_its_build(verb, golden):
    pytest.importorskip("onnx")
    code, out, _ = verb("--import", golden / "onnxruntime.json", "--model", golden / "model.onnx")
    assert code == 0 and "encoder.0" in out and "middle.1" in out


def test_what_is_left_outside_is_shown_with_the_rewrite(verb, golden):
    code, out, _ = verb("--import", golden / "benchmark_model.txt")
    assert code == 0
    flat = " ".join(out.split())
    assert "Left outside XNNPACK" in flat and "GATHER_ND" in flat and "sparse" in flat


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to profile: give a model, or --import FILE"),
        (["--model", "x.onnx"], "nothing to profile: give it without --model"),
        (["nothing.tflite"], "nothing.tflite does not exist"),
        (["s", "--entry", "backward"], "no entry point 'backward': choose from"),
        (["s", "--import", "x"], "give either a model to run or --import FILE"),
        (["s", "--device", "ios"], "no device 'ios': only adb is known"),
        (["s", "--device", "adb"], "--device adb needs --benchmark BINARY"),
        (["s", "--benchmark", "b"], "--benchmark belongs to --device adb"),
        (["s", "--etrecord", "r"], "belong to --import"),
        (["--import", "x", "--device", "adb"], "--device runs a model"),
        (["--import", "nothing.json"], "nothing.json does not exist"),
        (["s", "--threads", "0"], "greater than or equal to 1"),
        (["s", "--runs", "0"], "greater than or equal to 1"),
    ],
)
def test_mistakes_are_one_line(verb, words, message):
    code, out, err = verb(*words)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_adb_without_a_phone(verb, adb, golden, tmp_path):
    binary = tmp_path / "benchmark_model"
    binary.write_bytes(b"\x7fELF")
    adb([{"words": ["devices"], "out": "List of devices attached\n"}])
    code, _, err = verb(golden / "model.tflite", "--device", "adb", "--benchmark", binary)
    assert code == 2 and err == "error: adb sees no phone: attach one with USB debugging on\n"


def test_a_damaged_model(verb, golden, tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((golden / "model.tflite").read_bytes()[:2000])
    code, _, err = verb(cut)
    assert code == 2 and "damaged or no TFLite model" in err


def test_an_entry_point_that_the_file_lacks(verb, golden, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(golden / "model.onnx")
    (prop,) = (p for p in model.metadata_props if p.key == "cpl_edge")
    info = json.loads(prop.value) | {"entry_points": ["forward"]}
    prop.value = json.dumps(info)
    onnx.save(model, tmp_path / "m.onnx")
    code, _, err = verb(tmp_path / "m.onnx", "--entry", "route")
    assert code == 2 and "has no entry point 'route': choose from forward" in err


def test_what_this_verb_wrote_is_no_input(verb, golden, tmp_path):
    table = tmp_path / "p.json"
    verb("--import", golden / "coreml.json", "--json", table)
    code, _, err = verb("--import", table)
    assert code == 2 and "a table that this verb wrote" in err


def test_golden_files_are_small_and_all_described(golden):
    files = {path.name for path in golden.iterdir()} - {"README.md"}
    assert sum((golden / name).stat().st_size for name in files) < 800_000
    readme = (golden / "README.md").read_text()
    assert {name for name in files if name not in readme} <= {"benchmark_model.csv"}
    for name in files:
        assert b"/work" not in (golden / name).read_bytes()
