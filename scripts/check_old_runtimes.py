"""Run LiteRT files in the interpreters that came before it, and compare with today's.

    python scripts/check_old_runtimes.py build/s-litert-w8a8-auto/s.tflite

TensorFlow 2.16.1 has the last interpreter that Android knew as `org.tensorflow.lite`;
tflite-runtime 2.14 is the last wheel of that name, and needs NumPy 1. Each is installed by pip into
an environment of its own below `build/old-runtimes/`, so Python 3.11 or older must run this. Every
signature of every file runs on photos bundled with scikit-image, degraded; the answer, the largest
difference from LiteRT's own output and the PSNR between both restorations, goes to
`benchmarks/old-runtimes.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.runtimes.protocol import Runtime

REPOSITORY = Path(__file__).resolve().parents[1]
ENVIRONMENTS = REPOSITORY / "build/old-runtimes"
OLD = {
    "tensorflow 2.16.1": ("tensorflow.lite.python.interpreter", ["tensorflow-cpu==2.16.1"]),
    "tflite-runtime 2.14.0": (
        "tflite_runtime.interpreter",
        ["tflite-runtime==2.14.0", "numpy==1.26.4"],
    ),
}
# Runs in the old environment: nothing but NumPy and the interpreter is there.
RUN = """
import importlib, sys
import numpy as np
module, model, source, target = sys.argv[1:]
interpreter = importlib.import_module(module).Interpreter(model, num_threads=1)
given, made = dict(np.load(source)), {}
for name, signature in interpreter.get_signature_list().items():
    runner = interpreter.get_signature_runner(name)
    for case in range(sum(key.startswith("args_0 ") for key in given)):
        words = {word: given[f"{word} {case}"] for word in signature["inputs"]}
        for output, value in runner(**words).items():
            made[f"{name} {output} {case}"] = value
np.savez(target, **made)
"""


def environment(name: str, packages: list[str]) -> Path:
    """The Python of an environment that holds the packages; made where it is not there yet."""
    folder = ENVIRONMENTS / name.replace(" ", "-")
    python = folder / "bin/python"
    done = folder / "installed.txt"
    if not done.exists():
        print(f"installing {name} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        done.write_text("\n".join(packages))
    return python


def inputs(runtime: Runtime) -> dict[str, np.ndarray]:
    """Degraded crops ``args_0`` (1 x H x W x 3) and their selections ``args_1``, per case."""
    import torch
    from skimage import data

    from cpl_edge.data.degradations import degrade
    from cpl_edge.models.student import DEGRADATIONS

    size, arrays = runtime.info.height, {}
    for case, kind in enumerate(DEGRADATIONS):
        photo_HWC = (data.astronaut(), data.coffee(), data.chelsea())[case % 3][:size, :size]
        x_BCHW = torch.from_numpy(photo_HWC.copy()).permute(2, 0, 1)[None].float() / 255
        x_BCHW = degrade(x_BCHW, kind, torch.Generator().manual_seed(case))
        arrays[f"args_0 {case}"] = np.ascontiguousarray(x_BCHW.permute(0, 2, 3, 1).numpy())
        if "restore" in runtime.signature:
            arrays[f"args_1 {case}"] = runtime.run("route", x_BCHW.numpy())[0]
    return arrays


def run(python: Path, module: str, model: Path, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """Outputs of every signature and case, or ``{"error": last line}``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **given)  # type: ignore[arg-type]
        words = [str(python), "-c", RUN, module, str(model), str(source), str(target)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        with np.load(target) as arrays:
            return dict(arrays)


def compare(
    old: dict[str, np.ndarray], today: dict[str, np.ndarray]
) -> tuple[dict[str, float], float]:
    """Largest difference of each output over the cases, and dB between the restored images."""
    largest: dict[str, float] = {}
    squares = []
    for key, value in today.items():
        signature, output, _ = key.split(" ")
        difference = np.abs(old[key] - value)
        name = f"{signature} {output}"
        largest[name] = max(largest.get(name, 0.0), float(difference.max()))
        if signature == "forward" or signature.startswith("restore_"):  # own: it has no forward
            squares.append(float(np.square(difference).mean()))
    return largest, round(-10 * float(np.log10(max(float(np.mean(squares)), 1e-12))), 2)


def main() -> int:
    """Compare the files of the command line; exit 1 when one does not run or is far off."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks/old-runtimes.json")
    parser.add_argument(
        "--least", type=float, default=45.0, help="PSNR in dB between restorations that passes"
    )
    arguments = parser.parse_args()
    from cpl_edge.machine import machine, versions
    from cpl_edge.runtimes import open_runtime

    rows = []
    for model in arguments.models:
        runtime = open_runtime(model)
        info, given = runtime.info, inputs(runtime)
        runtime.close()
        today = run(Path(sys.executable), "ai_edge_litert.interpreter", model, given)
        for name, (module, packages) in OLD.items():
            old = run(environment(name, packages), module, model, given)
            row: dict[str, Any] = {
                "model": model.name, "precision": info.precision, "routing": info.routing,
                "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "interpreter": name,
            }  # fmt: skip
            if error := today.get("error", old.get("error")):
                row["error"] = str(error)
            else:
                row["differs"], row["psnr_between"] = compare(old, today)
            print(f"{model} in {name}: {row.get('error') or row}")
            rows.append(row)
    result = {"rows": rows, "machine": machine(), "versions": versions()}
    arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(row.get("psnr_between", 0) < arguments.least for row in rows))


if __name__ == "__main__":
    sys.exit(main())
