"""Write the golden files that the Android app's core is tested against.

    PYTHONPATH=. python tests/android/write_golden.py [FOLDER]

What `cpl_edge.restore` does is the reference: tile plans, crops, routed weights, descriptions that
are accepted or refused, percentiles, and whole restored photos. The models are tiny students with
random weights, made here as well: big enough to have every operator, small enough to commit. Their
weights are scaled up so that a wrong pixel, prompt or seam shows.

`test_golden.py` holds the committed files against what this writes from the committed models.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cpl_edge.restore import routing
from cpl_edge.restore.restorer import Restorer
from cpl_edge.restore.tiles import grid, reflected
from cpl_edge.runtimes import open_runtime
from cpl_edge.runtimes.info import KEY, ModelInfo

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "android_demo/core/src/test/resources/golden"
SIDE = 96
SIZES = ((1, 1), (53, 75), (96, 96), (97, 41), (301, 203), (3000, 4000))
CHOICES: dict[str, Any] = {"auto": "auto", "rain": "rain", "mixed": (0.5, 0.0, 0.25, 0.0, 0.25)}


def main() -> None:
    """Write models, then everything that follows from them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    folder.mkdir(parents=True, exist_ok=True)
    write_models(folder)
    write_values(folder, folder)


def write_values(models: Path, folder: Path) -> None:
    """Write what restoring says, given the models; needs no torch.

    Args:
        models: folder with ``fp32.onnx`` and ``int8.onnx``.
        folder: where to write.
    """
    with closing(open_runtime(models / "fp32.onnx")) as runtime:
        info = runtime.info
    values = {
        "tiles": [tile_plan(*size, info) for size in SIZES],
        "reflected": [reflected(start, 9, size).tolist() for start, size in ((-4, 3), (-9, 1))],
        "crops": [crop_plan(*size, most) for size in SIZES for most in (1, 4, 9)],
        "routing": [routed(seed) for seed in range(4)],
        "descriptions": descriptions(info),
        "percentiles": percentiles(),
    }
    (folder / "values.json").write_text(json.dumps(values, indent=1) + "\n")
    photo_HWC = photo()
    Image.fromarray(photo_HWC).save(folder / "photo.png")
    report: dict[str, Any] = {}
    for precision, names in (("fp32", list(CHOICES)), ("int8", ["auto"])):
        with closing(open_runtime(models / f"{precision}.onnx")) as runtime:
            for name in names:
                choice = CHOICES[name]
                restorer = Restorer(runtime)
                if name == "mixed":
                    choice = mixed(restorer, photo_HWC, choice)
                restored = restorer.restore(photo_HWC, choice)
                assert restored.weights_SN is not None
                Image.fromarray(restored.image_HWC).save(folder / f"{precision}_{name}.png")
                report[f"{precision}_{name}"] = {
                    "weights": restored.weights_SN.ravel().tolist(),
                    "degradation": restored.degradation,
                    "probabilities": restored.probabilities,
                    "tiles": restored.tiles,
                }
    (folder / "restored.json").write_text(json.dumps(report, indent=1) + "\n")


def tile_plan(height: int, width: int, info: ModelInfo) -> dict[str, Any]:
    """Every tile of a photo; of a large one the first and last only."""
    plan = [
        [t.top, t.left, t.rows.start, t.columns.start, t.rows.stop, t.columns.stop]
        for t in grid(height, width, info)
    ]
    return {
        "height": height,
        "width": width,
        "count": len(plan),
        "first": plan[:64],
        "last": plan[-1],
    }


def crop_plan(height: int, width: int, most: int) -> dict[str, Any]:
    """Where the router looks."""
    origins = routing.crop_origins((height, width), (SIDE, SIDE), most)
    return {"height": height, "width": width, "most": most, "origins": origins}


def routed(seed: int) -> dict[str, Any]:
    """Weights of random logits; the first are a tie, the second nearly one."""
    logits_SL = np.random.default_rng(seed).normal(0, 3, (2, 20)).astype(np.float32)
    if seed < 2:
        logits_SL[:, 1] = logits_SL[:, :5].max() + 1
        logits_SL[:, 3] = logits_SL[:, 1] - np.float32(seed) * np.float32(4e-7)
    return {
        "logits": logits_SL.ravel().tolist(),
        "select": routing.select(logits_SL, 5, 3).ravel().tolist(),
        "forced": [routing.forced(logits_SL, 5, 3, d).ravel().tolist() for d in range(5)],
        "probabilities": routing.probabilities(logits_SL, 5).tolist(),
    }


def descriptions(info: ModelInfo) -> dict[str, list[str]]:
    """Descriptions that are accepted, and damaged ones that are refused."""
    good = json.loads(info.to_json())
    accepted = [
        good,
        good | {"later": 1},
        good | {"routing": "pinned", "pinned": "rain", "entry_points": ["forward"]},
        good | {"routing": "split", "entry_points": ["route", "restore"]},
    ]
    refused = [
        good | change
        for change in (
            {"format": 2},
            {"student": 3},
            {"height": 98},
            {"height": "96"},
            {"halo": -1},
            {"levels": 0},
            {"routing": "magic"},
            {"layout": "CHWN"},
            {"pinned": "snow"},
            {"degradations": ["noise"]},
            {"degradations": [1, 2]},
            {"entry_points": []},
            {"entry_points": ["forward", "train"]},
            {"routing": "split", "entry_points": ["forward"]},
            {"channels": "BGR"},
            {"range": [0, 255]},
            {"versions": None},
        )
    ]
    lacking = [{k: v for k, v in good.items() if k != name} for name in ("halo", "digest")]
    texts = [json.dumps(values) for values in refused + lacking] + ["{", "[]", "3", ""]
    return {"accepted": [json.dumps(values) for values in accepted], "refused": texts}


def percentiles() -> list[dict[str, Any]]:
    """NumPy's percentiles of a few times."""
    return [
        {"samples": samples, "values": np.percentile(samples, (0, 50, 90, 99, 100)).tolist()}
        for samples in ([7.0], [3.0, 1.0], [5.0, 1.0, 4.0, 2.0, 9.5], list(map(float, range(101))))
    ]


def photo() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Edges, ramps and noise, larger than a tile in both directions and odd in size."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:117, 0:143]
    base = np.stack([x * 1.5, y * 1.8, 120 + 100 * np.sin(x / 7) * np.cos(y / 9)], -1)
    base[30:60, 40:90] = (220, 40, 60)
    noisy: np.ndarray[Any, Any] = (base + rng.normal(0, 12, base.shape)).clip(0, 255)
    return noisy.astype(np.uint8)


def mixed(restorer: Restorer, photo_HWC: np.ndarray[Any, Any], shares: Any) -> Any:
    """Weights of a mixture by hand: a share of each degradation, levels by the router."""
    info = restorer.info
    forced = [restorer.restore(photo_HWC, name).weights_SN for name in info.degradations]
    total = sum(np.float32(s) * w for s, w in zip(shares, forced, strict=True) if w is not None)
    return np.asarray(total, np.float32)


def write_models(folder: Path) -> None:
    """Export a tiny random student, fp32 and statically quantised to int8."""
    import torch
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    from cpl_edge.export.targets.litert import LiteRT
    from cpl_edge.export.targets.onnx import Onnx
    from cpl_edge.models.student import Student, StudentConfig

    torch.manual_seed(1)
    config = StudentConfig(widths=(8, 12), blocks=(1, 1, 1), router_widths=(6, 8), router_hidden=12)
    student = Student(config).eval()
    with torch.no_grad():
        for name, value in student.named_parameters():
            if "project.weight" in name or "scale" in name or "shift" in name:
                value.normal_(0, 0.25)
        student.tail.weight.mul_(6)
        student.router.head.weight.mul_(8)
    info = ModelInfo(
        student="golden",
        target="onnx",
        precision="fp32",
        routing="auto",
        pinned=None,
        height=SIDE,
        width=SIDE,
        layout="NCHW",
        halo=student.halo,
        multiple=student.multiple,
        degradations=config.degradations,
        levels=config.levels,
        sites=1,
        entry_points=("forward", "route", "restore"),
        digest="0" * 64,
    )
    write_tflite(folder / "metadata.tflite", info)
    for target, suffix in ((LiteRT(), ".tflite"), (Onnx(), ".onnx")):
        own = replace(info, target=target.name, layout=target.layout)
        path = target.convert(target.lower(student, own), folder)
        path.replace(folder / f"fp32{suffix}")
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"

    class Crops(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            image = torch.from_numpy(photo().astype(np.float32) / 255).permute(2, 0, 1)[None]
            self.crops = [image[..., y : y + SIDE, x : x + SIDE] for y in (0, 21) for x in (0, 47)]

        def get_next(self) -> dict[str, Any] | None:
            return {"x": self.crops.pop().numpy()} if self.crops else None

    quantize_static(fp32, int8, Crops(), op_types_to_quantize=["Conv"], per_channel=True)
    import onnx

    model = onnx.load(str(int8))
    del model.metadata_props[:]
    text = replace(info, precision="w8a8").to_json()
    onnx.helper.set_model_props(model, {KEY: text})
    onnx.save(model, str(int8))


def write_tflite(path: Path, info: ModelInfo) -> None:
    """The smallest TFLite file with a description: no graph, two entries of metadata."""
    from ai_edge_litert import schema_py_generated as schema

    from cpl_edge.export import flatbuffer

    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    path.write_bytes(flatbuffer.pack_model(model))
    flatbuffer.write_metadata(path, "other", "unused")
    flatbuffer.write_metadata(path, KEY, replace(info, target="litert", layout="NHWC").to_json())


if __name__ == "__main__":
    main()
