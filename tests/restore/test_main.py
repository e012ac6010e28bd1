"""The verb as a user types it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cpl_edge.data.images import read_photo, write_photo
from cpl_edge.restore.__main__ import main


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    write_photo(folder / "dark.png", np.full((20, 30, 3), 40, np.uint8))
    write_photo(folder / "light.png", np.full((17, 5, 3), 180, np.uint8))
    return folder


def run(capfd, *words):
    """Exit code, stdout and stderr of the verb."""
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code or 0, *capfd.readouterr()


def test_a_photo_in_a_restored_photo_out(photos, toy, tmp_path, capfd):
    target = tmp_path / "out.png"
    code, out, _ = run(capfd, photos / "light.png", "-o", target, "--model", toy)
    assert code == 0
    assert "rain (" in out and "5x17" in out and "ms/MP" in out
    assert (read_photo(target).image_HWC == 180 + 64).all()  # 1/4 of 255 is 63.75


def test_the_degradation_can_be_said(photos, toy, capfd):
    code, out, _ = run(capfd, photos / "light.png", "--model", toy, "--degradation", "noise")
    assert code == 0 and "noise (" in out
    assert (read_photo(photos / "light_restored.png").image_HWC == 180).all()
    code, _, err = run(capfd, photos / "dark.png", "--model", toy, "--degradation", "snow")
    assert code == 2 and "choose auto or one of noise, rain" in err


def test_a_folder_with_a_bad_file(photos, toy, tmp_path, capfd):
    (photos / "broken.jpg").write_bytes(b"no image at all")
    (photos / "notes.txt").write_text("hello")
    report = tmp_path / "report.json"
    code, out, err = run(capfd, photos, "-o", tmp_path / "out", "--model", toy, "--json", report)
    assert code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dark.png", "light.png"]
    assert f"skipped {photos / 'notes.txt'}: not a JPEG" in out
    assert f"failed {photos / 'broken.jpg'}: not an image" in err
    assert "error: 1 of 3 photos failed" in err
    values = json.loads(report.read_text())
    assert [p["degradation"] for p in values["photos"]] == ["noise", "rain"]
    assert [p["path"] for p in values["skipped"]] == [str(photos / "notes.txt")]
    assert [p["path"] for p in values["failed"]] == [str(photos / "broken.jpg")]
    assert values["target"] == "litert" and values["threads"] >= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["missing.png"], "there is no such file"),
        (["dark.png", "--model", "missing.tflite"], "missing.tflite does not exist"),
        (["dark.png", "--runtime", "onnx"], "for the runtime litert, not onnx"),
        (["dark.png", "--threads", "0"], "greater than or equal to 1"),
        (["dark.png", "--max-megapixels", "0.0001"], "greater than or equal to 0.001"),
        (["dark.png", "-o", "light.png"], "exists already: pass --overwrite"),
        ([], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_exit_code_2(photos, toy, capfd, monkeypatch, words, reason):
    monkeypatch.chdir(photos)
    model = [] if "--model" in words else ["--model", str(toy)]
    code, _, err = run(capfd, *words, *model)
    assert code == 2 and reason in err
    assert "Traceback" not in err
    assert sorted(path.name for path in photos.iterdir()) == ["dark.png", "light.png"]


def test_overwriting_has_to_be_asked_for(photos, toy, tmp_path, capfd):
    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    words = [photos / "dark.png", "-o", target, "--model", toy]
    assert run(capfd, *words)[0] == 2
    assert target.read_bytes() == b"precious"
    assert run(capfd, *words, "--overwrite")[0] == 0
    assert (read_photo(target).image_HWC == 40).all()


def test_debug_shows_the_traceback(photos, capfd):
    words = [photos / "dark.png", "--model", "missing.tflite"]
    for extra, shown in (([], False), (["--debug"], True)):
        code, _, err = run(capfd, *words, *extra)
        assert code == 2 and ("Traceback" in err) == shown


def python(code, *words):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


MODULES = """
import sys
from cpl_edge.restore.__main__ import main
try:
    main(sys.argv[1:])
finally:
    print("LOADED", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_help_imports_nothing_heavy():
    done = python(MODULES, "--help")
    assert done.returncode == 0 and "PHOTO" in done.stdout
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert not loaded & {"numpy", "PIL", "ai_edge_litert", "pydantic", "torch", "flatbuffers"}
    assert "cpl_edge" in loaded


def test_restoring_never_loads_torch(photos, toy):
    done = python(MODULES, photos / "dark.png", "--model", toy)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "ai_edge_litert" in loaded
    assert not loaded & {"torch", "onnxruntime", "executorch", "skimage", "safetensors", "scipy"}
