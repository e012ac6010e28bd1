"""The model files that phones get give the same numbers on 64-bit ARM, emulated."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpl_edge.runtimes import open_runtime

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "android_demo/core/src/test/resources/golden"
MODELS = (
    *sorted((REPOSITORY / "weights").glob("*.tflite")),
    GOLDEN / "fp32.tflite",
    GOLDEN / "fp32.onnx",
    GOLDEN / "int8.onnx",
)
INFER = Path(__file__).with_name("infer.py")


@pytest.fixture(scope="module")
def arm64():
    """Words that run Python on the other machine."""
    if "CPL_EDGE_ARM64" not in os.environ:
        pytest.skip("make a folder with tests/arm64/setup.sh and name it in CPL_EDGE_ARM64")
    folder = Path(os.environ["CPL_EDGE_ARM64"]).resolve()
    root = folder / "root"
    emulator = folder / "qemu/usr/bin/qemu-aarch64"
    return [str(emulator), "-L", str(root), str(root / "usr/bin/python3.11")]


def infer(python, model, source, target, path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    words = [*python, str(INFER), str(model), str(source), str(target)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(target) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("model", MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_same_numbers(arm64, model, tmp_path):
    with closing(open_runtime(model)) as runtime:
        info = runtime.info
    photo_HWC = np.asarray(Image.open(GOLDEN / "photo.png"), np.float32) / 255
    crop_HWC = np.resize(photo_HWC, (info.height, info.width, 3))
    weights = np.zeros((1, info.sites, info.prompts), np.float32)
    weights[..., : info.levels] = 1 / info.levels
    source = tmp_path / "in.npz"
    np.savez(source, x=np.ascontiguousarray(crop_HWC.transpose(2, 0, 1)[None]), w=weights)
    site = Path(os.environ["CPL_EDGE_ARM64"]).resolve() / "site"
    there = infer(arm64, model, source, tmp_path / "arm.npz", [str(site), str(REPOSITORY)])
    here = infer([sys.executable], model, source, tmp_path / "here.npz", [str(REPOSITORY)])
    assert there.pop("machine") == "aarch64"
    here.pop("machine")
    assert there.keys() == here.keys()
    is_float = info.precision.startswith("fp")
    for name, expected in here.items():
        assert np.isfinite(expected).all() and np.ptp(expected) > 0, name
        worst = np.abs(there[name] - expected).max()
        print(f"{model.name} {name}: {worst:.2e}")
        scale = max(1.0, float(np.abs(expected).max()))  # logits are larger than images
        if info.precision == "dynamic":
            # Ranges found while running follow the last bits of floats, and a value on the edge
            # of a step goes the other way in every layer: rare, and more than a level at worst.
            mean = np.sqrt(np.square(there[name] - expected).mean())
            assert mean <= 0.002 * scale, name
            continue
        # Integers may round the other way where a float in front of them does: one level.
        assert worst <= (1e-4 * scale if is_float else 1 / 255 * scale), name
