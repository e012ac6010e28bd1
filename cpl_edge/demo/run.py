"""Degrade the bundled photos, restore them, keep pictures, contact sheet and figures.

1. Take the ``bundled`` suite's samples: five degradations of the photos inside scikit-image.
2. Restore each with photo-level routing, as ``restore`` would; keep degraded and restored files.
3. Put one photo per degradation on a contact sheet, a different one in each row.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpl_edge.cli import track
from cpl_edge.data.images import write_photo
from cpl_edge.demo.sheet import SheetRow, contact_sheet
from cpl_edge.evaluate.rows import measure, summarise
from cpl_edge.evaluate.run import Evaluation
from cpl_edge.evaluate.samples import Sample, find_samples
from cpl_edge.evaluate.suites import load_suite
from cpl_edge.restore.restorer import AUTO, Restorer
from cpl_edge.runtimes import find_model, open_runtime


def run_demo(model: str, out: Path, threads: int) -> Evaluation:
    """Run the demo.

    Args:
        model: model file or shipped student's name.
        out: folder for the pictures; files of an earlier run are replaced.
        threads: CPU threads.

    Returns:
        The figures of all photos and degradations.

    Raises:
        UserError: the model is not there.
        MissingExtra: scikit-image or torch is not installed.
    """
    suite = load_suite("bundled")
    samples = find_samples(suite, None)
    path = find_model(model)
    labels = [degradation.label for degradation in suite.degradations]
    photos = sorted({sample.name for sample in samples})
    out.mkdir(parents=True, exist_ok=True)
    rows, sheet = [], []
    with closing(open_runtime(path, threads)) as runtime:
        restorer = Restorer(runtime)
        for sample in track(samples, "restoring"):
            row = measure(sample, suite, restorer, AUTO)
            rows.append(row)
            degraded, clean = sample.load(suite.crop_multiple)
            restored = restorer.restore(degraded).image_HWC
            _save(out, sample, degraded, restored, clean)
            index = labels.index(row.label)
            if sample.name == photos[index % len(photos)]:
                captions = (
                    f"{row.label}: {row.psnr_before:.2f} dB",
                    f"restored as {row.selected}: {row.psnr_after:.2f} dB",
                    f"clean ({sample.name})",
                )
                sheet.append(SheetRow((degraded, restored, clean), captions))
        info = runtime.info
    contact_sheet(sheet).save(out / "contact_sheet.png")
    summaries = summarise(rows, info.degradations)
    return Evaluation(suite, path, info, AUTO, threads, 0, tuple(rows), tuple(summaries))


def _save(
    out: Path,
    sample: Sample,
    degraded: npt.NDArray[np.uint8],
    restored: npt.NDArray[np.uint8],
    clean: npt.NDArray[np.uint8],
) -> None:
    label = sample.degradation.degradation
    write_photo(out / f"{sample.name}_{label}.png", degraded, overwrite=True)
    write_photo(out / f"{sample.name}_{label}_restored.png", restored, overwrite=True)
    write_photo(out / f"{sample.name}.png", clean, overwrite=True)
