"""By how much photos restored tile by tile differ from photos restored at once.

    python scripts/check_seams.py --data FOLDER s m nano

`FOLDER/cbsd68` holds the 68 clean images of CBSD68. Each is degraded in the five ways of the suite
`synthetic` and restored twice with the same prompts: by the shipped LiteRT file with the halo that
it keeps, and with one as wide as convolutions reach. The largest difference in levels of 255, the
share of 8-bit values that came out another, and the difference in PSNR go to
`benchmarks/analyses/seams.json`; so does how the shipped int8 file, which rounds every tile in its
own ranges, differs from the fp32 file on either side of a tile's border, in the mean over both
pixels of all such pairs, beside that of pairs that lie in one tile.
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

from cpl_edge.benchmark.tile_routing import find_seams
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


def compare_int8(name: str, folder: Path) -> dict[str, Any]:
    """Steps of the difference between the shipped int8 and fp32 files, at borders of tiles."""
    found = {}
    files = [REPOSITORY / f"weights/{name}{kind}.tflite" for kind in ("-dynamic", "")]
    with closing(open_runtime(files[0])) as rounded, closing(open_runtime(files[1])) as exact:
        info = rounded.info
        steps = (info.height - 2 * info.halo, info.width - 2 * info.halo)
        photos = list(load_images(list(list_images([folder]))))
        for kind in DEGRADATIONS:
            rows = []
            for seed, clean in enumerate(track(photos, f"{name} int8 {kind}")):
                x = degraded(clean, kind, seed)
                a, b = (Restorer(runtime).restore_float(x, kind) for runtime in (rounded, exact))
                seams = find_seams((a.image_HWC - b.image_HWC) * 255, steps)
                rows.append((seams.border, seams.inside))
            border, inside = np.mean(rows, axis=0)
            found[kind] = {"border": float(border), "inside": float(inside)}
    return {"digest": info.digest, "levels": found}


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
        "changed, difference in PSNR to the clean photo in dB; int8: how much its difference from "
        "fp32 changes between neighbouring pixels, mean in levels, across borders and in tiles",
        "command": f"python scripts/check_seams.py --data FOLDER {' '.join(asked.students)}",
        "students": {name: compare(name, asked.data / "cbsd68") for name in asked.students},
        "int8": {name: compare_int8(name, asked.data / "cbsd68") for name in asked.students},
        "machine": machine(),
        "versions": versions(),
    }
    asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("students", "int8")}, indent=1))


if __name__ == "__main__":
    main()
