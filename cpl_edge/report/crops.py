"""Crops before and after, of photos that come inside scikit-image, restored for the page.

Whole photos are degraded and restored, as the suite ``bundled`` does, and the figures are those of
the whole photo; only a square from its middle is shown, or from where ``_MIDDLES`` says.
"""

from __future__ import annotations

import base64
import io
from contextlib import closing

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpl_edge.cli import track
from cpl_edge.evaluate.metrics import psnr
from cpl_edge.evaluate.samples import Sample, find_samples
from cpl_edge.evaluate.suites import load_suite
from cpl_edge.report.document import Crop
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import find_model, open_runtime

PIXELS = 224
"""Side of a crop: two fit beside each other on a small tablet, one fills a phone."""

Pixels = npt.NDArray[np.uint8]

_MIDDLES = {"astronaut": (0.25, 0.45), "chelsea": (0.4, 0.5), "rocket": (0.6, 0.5)}
"""Where to look, as shares of height and width; faces and edges rather than sky."""


def make_crops(model: str, threads: int) -> tuple[Crop, ...]:
    """Restore one bundled photo for each degradation.

    Args:
        model: model file, build folder or shipped student's name.
        threads: CPU threads.

    Raises:
        UserError: the model is not there.
        MissingExtra: scikit-image, or torch, which makes the degradations, is not installed.
    """
    suite = load_suite("bundled")
    samples = find_samples(suite, None)
    labels = [degradation.label for degradation in suite.degradations]
    photos = sorted({sample.name for sample in samples})
    shown = {label: photos[i % len(photos)] for i, label in enumerate(labels)}
    chosen = [s for s in samples if s.name == shown[s.degradation.label]]
    with closing(open_runtime(find_model(model), threads)) as runtime:
        restorer = Restorer(runtime)
        return tuple(
            _crop(sample, restorer, suite.crop_multiple) for sample in track(chosen, "crops")
        )


def _crop(sample: Sample, restorer: Restorer, multiple: int) -> Crop:
    degraded, clean = sample.load(multiple)
    result = restorer.restore(degraded)
    restored = result.image_HWC.astype(np.uint8, copy=False)
    before, after = (psnr(_unit(image), _unit(clean)) for image in (degraded, restored))
    taken = f", taken for {result.degradation}" if result.degradation else ""
    label = sample.degradation.label
    return Crop(
        name=f"crop-{label.replace(' ', '-')}",
        title=f"{label}, photo {sample.name}",
        caption=f"Whole photo: {before:.2f} to {after:.2f} dB{taken}.",
        degraded=data_uri(_cut(degraded, sample.name)),
        restored=data_uri(_cut(restored, sample.name)),
        clean=data_uri(_cut(clean, sample.name)),
        pixels=PIXELS,
    )


def _cut(image_HWC: Pixels, name: str) -> Pixels:
    """A square of :data:`PIXELS` around the place worth seeing."""
    tops = []
    for size, share in zip(image_HWC.shape[:2], _MIDDLES.get(name, (0.5, 0.5)), strict=True):
        tops.append(min(max(round(size * share) - PIXELS // 2, 0), max(size - PIXELS, 0)))
    top, left = tops
    return image_HWC[top : top + PIXELS, left : left + PIXELS]


def data_uri(image_HWC: Pixels, quality: int = 82) -> str:
    """A uint8 RGB image as a ``data:`` URI of a WebP file.

    Lossy, for looking at: what is measured is measured before.
    """
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "WEBP", quality=quality, method=6)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _unit(image_HWC: Pixels) -> npt.NDArray[np.float32]:
    return image_HWC.astype(np.float32) / np.float32(255)
