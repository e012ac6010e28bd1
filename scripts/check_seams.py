"""By how much photos restored tile by tile differ from photos restored at once.

    python scripts/check_seams.py --data FOLDER s m nano

`FOLDER/cbsd68` holds the 68 clean images of CBSD68. Each is degraded in the five ways of the suite
`synthetic` and restored twice with the same prompts: by the shipped LiteRT file with the halo that
it keeps, and with one as wide as convolutions reach. The largest difference in levels of 255, the
share of 8-bit values that came out another, and the difference in PSNR go to
`benchmarks/analyses/seams.json`.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from cpl_edge.data.patches import list_images, load_images
from cpl_edge.evaluate.degraded import Image, add_gaussian, synthesise
from cpl_edge.evaluate.metrics import psnr
from cpl_edge.machine import machine, versions
from cpl_edge.models.student import DEGRADATIONS
from cpl_edge.models.zoo import load_student
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import open_runtime

REPOSITORY = Path(__file__).resolve().parents[1]


def degraded(clean: Image, kind: str, seed: int) -> Image:
    """A photo as the suite `synthetic` degrades it."""
    return add_gaussian(clean, 25, seed) if kind == "noise" else synthesise(clean, kind, seed)


def compare(name: str, folder: Path) -> dict[str, Any]:
    """Both restorations of all images with one shipped student."""
    reach, found = load_student(name).halo, {}
    with closing(open_runtime(REPOSITORY / f"weights/{name}.tflite")) as runtime:
        own, photos = runtime.info, list(load_images(list(list_images([folder]))))
        for kind in DEGRADATIONS:
            rows = []
            for seed, clean in enumerate(track(photos, f"{name} {kind}")):
                x, results = degraded(clean, kind, seed), []
                for halo in (own.halo, reach):
                    runtime.info = replace(own, halo=halo)
                    results.append(Restorer(runtime).restore_float(x, kind).image_HWC)
                tiles, whole = results
                target = clean.astype(np.float32) / 255
                rows.append(
                    (
                        np.abs(tiles - whole).max() * 255,
                        np.mean(np.rint(tiles * 255) != np.rint(whole * 255)),
                        psnr(tiles, target) - psnr(whole, target),
                    )
                )
            levels, changed, gained = np.array(rows).T
            found[kind] = {
                "levels": float(levels.max()),
                "changed": float(changed.mean()),
                "psnr": float(gained.mean()),
                "psnr_worst": float(gained.min()),
            }
    return {"halo": own.halo, "reach": reach, "digest": own.digest, "degradations": found}


def main() -> None:
    """Read the command line, compare, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("students", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "benchmarks/analyses/seams.json")
    asked = parser.parse_args()
    result = {
        "what": "photos of cbsd68 restored in tiles, against the same with a halo as wide as "
        "convolutions reach: largest difference in levels of 255, share of 8-bit values that "
        "changed, difference in PSNR to the clean photo in dB",
        "command": f"python scripts/check_seams.py --data FOLDER {' '.join(asked.students)}",
        "students": {name: compare(name, asked.data / "cbsd68") for name in asked.students},
        "machine": machine(),
        "versions": versions(),
    }
    asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["students"], indent=1))


if __name__ == "__main__":
    main()
