"""The checks of the offline APK find what they are for."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "android_demo/offline/check_apk.py"
_SPEC = importlib.util.spec_from_file_location("check_apk", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
check_apk = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_apk)


def elf(machine):
    return b"\x7fELF" + bytes(14) + bytes([machine, 0])


def pack(path, files, compressed=()):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            kind = zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED
            archive.writestr(name, data, kind)
    return path


GOOD = {"lib/arm64-v8a/libx.so": elf(0xB7), "lib/x86_64/libx.so": elf(0x3E)}


def test_libraries_for_every_abi(tmp_path):
    assert "libx.so" in check_apk.check_libraries(pack(tmp_path / "a.apk", GOOD))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"lib/arm64-v8a/libx.so": elf(0xB7)},
        GOOD | {"lib/x86_64/libx.so": elf(0xB7)},
        GOOD | {"lib/x86_64/liby.so": elf(0x3E)},
        GOOD | {"lib/armeabi-v7a/libx.so": elf(0x28)},
    ],
)
def test_libraries_that_are_wrong(tmp_path, files):
    with pytest.raises(check_apk.Failed):
        check_apk.check_libraries(pack(tmp_path / "a.apk", files))


def test_models_are_the_given_ones(tmp_path):
    model = tmp_path / "s.tflite"
    model.write_bytes(b"weights" * 99)
    inside = "assets/builds/s.tflite"
    good = {inside: model.read_bytes()}
    assert "s.tflite" in check_apk.check_models(pack(tmp_path / "a.apk", good), [model])
    bad = (
        pack(tmp_path / "b.apk", {inside: b"other" * 99}),
        pack(tmp_path / "c.apk", good, compressed=[inside]),
        pack(tmp_path / "d.apk", {}),
        pack(tmp_path / "e.apk", good | {"assets/builds/left_over.tflite": b"x"}),
    )
    for apk in bad:
        with pytest.raises(check_apk.Failed):
            check_apk.check_models(apk, [model])


def test_newer_members_must_be_guarded(tmp_path):
    log = tmp_path / "log"
    known = (
        "Warning: cpledge.app.Phone: can't find referenced method "
        "'int getCurrentThermalStatus()' in library class android.os.PowerManager\n"
    )
    log.write_text(known)
    assert "1 newer" in check_apk.check_oldest(log)
    other = known.replace("getCurrentThermalStatus", "getThermalHeadroom")
    for text in ("", known + other, known + "Warning: a: can't find referenced class b.C\n"):
        log.write_text(text)
        with pytest.raises(check_apk.Failed):
            check_apk.check_oldest(log)


def test_a_tool_that_fails_is_a_failed_check(monkeypatch):
    monkeypatch.setattr(
        check_apk.subprocess,
        "run",
        lambda *_, **__: check_apk.subprocess.CompletedProcess([], 1, "", "broken file"),
    )
    with pytest.raises(check_apk.Failed, match="zipalign: broken file"):
        check_apk.run("zipalign", "-c", "a.apk")
