"""The Android app's golden files are what `cpl_edge.restore` says today."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime", reason="the golden models are ONNX files: cpl-edge[onnx]")

_PATH = Path(__file__).with_name("write_golden.py")
_SPEC = importlib.util.spec_from_file_location("write_golden", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
write_golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(write_golden)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    write_golden.write_values(write_golden.GOLDEN, folder)
    return folder


def close(committed, now, where):
    """Equal, but for the last bits of float32."""
    assert type(committed) is type(now), where
    if isinstance(committed, dict):
        assert committed.keys() == now.keys(), where
        for name in committed:
            close(committed[name], now[name], f"{where}.{name}")
    elif isinstance(committed, list):
        assert len(committed) == len(now), where
        for i, (a, b) in enumerate(zip(committed, now, strict=True)):
            close(a, b, f"{where}[{i}]")
    elif isinstance(committed, float):
        assert committed == pytest.approx(now, abs=1e-3 if "int8" in where else 1e-5), where
    else:
        assert committed == now, where


@pytest.mark.parametrize("name", ["values.json", "restored.json"])
def test_values_are_current(written, name):
    committed = json.loads((write_golden.GOLDEN / name).read_text())
    close(committed, json.loads((written / name).read_text()), name)


def test_photos_are_current(written):
    names = {path.name for path in write_golden.GOLDEN.glob("*.png")}
    assert names == {path.name for path in written.glob("*.png")}
    for name in names:
        committed = np.asarray(Image.open(write_golden.GOLDEN / name)).astype(int)
        now = np.asarray(Image.open(written / name)).astype(int)
        assert np.abs(committed - now).max() <= (1 if "_" in name else 0), name


def test_small_enough_to_commit():
    assert sum(path.stat().st_size for path in write_golden.GOLDEN.iterdir()) < 600_000
