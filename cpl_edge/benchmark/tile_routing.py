"""What routing once per photo changes: the same photo with every tile routed alone.

With one set of weights the tiled result equals the whole image's (`cpl_edge.restore.tiles`), so
the difference of both results is what per-tile routing does. Where neighbouring tiles select
differently, that difference jumps at their border: a seam.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cpl_edge.benchmark.schema import RoutingRow
from cpl_edge.evaluate.metrics import psnr
from cpl_edge.evaluate.samples import find_samples
from cpl_edge.evaluate.suites import load_suite
from cpl_edge.restore import routing
from cpl_edge.restore.restorer import Restorer
from cpl_edge.restore.tiles import grid, window
from cpl_edge.runtimes import ModelInfo, Runtime
from cpl_edge.runtimes.protocol import FloatArray, image_buffer

LEVELS = 255.0
"""Steps are told in units of one level of 8 bits."""

PERFECT_DB = 200.0
"""Stands for the infinite PSNR of equal images, which JSON cannot hold."""


@dataclass(frozen=True)
class Seams:
    """Steps of a difference of two images between neighbouring pixels, in its own units.

    Attributes:
        border: mean over neighbours on two sides of a tile's border.
        inside: mean over all others.
        worst: mean of the worst border between two tiles.
    """

    border: float
    inside: float
    worst: float


def routing_rows(runtime: Runtime, suite: str, data: Path | None = None) -> list[RoutingRow]:
    """Compare both ways of routing on the photos of a suite.

    Args:
        runtime: open file with the entry points ``route`` and ``restore``.
        suite: name of a suite of `cpl_edge.evaluate`, or its file.
        data: folder of the suite's images.

    Raises:
        UserError: no such suite, or images that are not there.
    """
    chosen = load_suite(suite)
    restorer = Restorer(runtime)
    rows = []
    for sample in find_samples(chosen, data):
        degraded_HWC, clean_HWC = (
            image.astype(np.float32) / np.float32(255) for image in sample.load(1)
        )
        label = sample.degradation.label
        rows.append(compare_routing(restorer, sample.name, label, degraded_HWC, clean_HWC))
    return rows


def can_be_told(info: ModelInfo) -> bool:
    """Whether a file has what the comparison needs: a choice, and tiles that can be told."""
    return info.pinned is None and {"route", "restore"} <= set(info.entry_points)


def compare_routing(
    restorer: Restorer, photo: str, label: str, degraded_HWC: FloatArray, clean_HWC: FloatArray
) -> RoutingRow:
    """Restore a photo both ways.

    Args:
        restorer: with a file of :func:`can_be_told`.
        photo: its name.
        label: what was done to it.
        degraded_HWC: RGB in [0, 1].
        clean_HWC: the same before that.
    """
    info = restorer.info
    whole = restorer.restore_float(degraded_HWC)
    tiled_HWC, weights_TN = restore_per_tile(restorer.runtime, degraded_HWC)
    selected_T = [info.degradations[i // info.levels] for i in weights_TN.argmax(1)]
    height, width = degraded_HWC.shape[:2]
    plan = grid(height, width, info)
    steps = (plan.step_rows, plan.step_columns)
    seams = find_seams((tiled_HWC - whole.image_HWC) * LEVELS, steps)
    assert whole.degradation is not None
    return RoutingRow(
        photo=photo,
        label=label,
        width=width,
        height=height,
        tiles=len(plan),
        selected=whole.degradation,
        certainty=whole.probabilities[whole.degradation],
        selected_by_tile=dict(Counter(selected_T)),
        disagreeing=sum(name != whole.degradation for name in selected_T) / len(plan),
        neighbours_differing=_differing(selected_T, -(-width // steps[1])),
        weights_spread=float(np.ptp(weights_TN, axis=0).max()),
        seam_step=seams.border,
        inside_step=seams.inside,
        worst_seam=seams.worst,
        psnr_photo=min(PERFECT_DB, psnr(whole.image_HWC, clean_HWC)),
        psnr_tile=min(PERFECT_DB, psnr(tiled_HWC, clean_HWC)),
    )


def restore_per_tile(
    runtime: Runtime, image_HWC: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    """Restore every tile with the weights that the router selects for it alone.

    Args:
        runtime: open file with ``route`` and ``restore``.
        image_HWC: RGB in [0, 1].

    Returns:
        The result, clipped to [0, 1], and the first site's weights of each tile.
    """
    info = runtime.info
    x_BCHW = image_buffer(info)
    result_HWC = np.empty_like(image_HWC)
    weights = []
    for tile in grid(image_HWC.shape[0], image_HWC.shape[1], info):
        x_BCHW[0] = window(image_HWC, tile.top, tile.left, info.height, info.width).transpose(
            2, 0, 1
        )
        _, logits_BSL = runtime.run("route", x_BCHW)
        w_BSN = routing.select(logits_BSL, len(info.degradations), info.levels)
        (y_BCHW,) = runtime.run("restore", x_BCHW, w_BSN)
        core_HWC = result_HWC[tile.rows, tile.columns]
        rows, columns = core_HWC.shape[:2]
        y_HWC = y_BCHW[0].transpose(1, 2, 0)[info.halo :, info.halo :][:rows, :columns]
        np.clip(y_HWC, 0, 1, out=core_HWC)
        weights.append(w_BSN[0, 0])
    return result_HWC, np.array(weights)


def find_seams(difference_HWC: FloatArray, steps: tuple[int, int]) -> Seams:
    """Steps of a difference at the borders of tiles and elsewhere.

    Args:
        difference_HWC: of two results of one photo.
        steps: rows and columns of a tile.
    """
    border_sum = border_count = inside_sum = inside_count = worst = 0.0
    for axis in (0, 1):
        # Lines along the border, so that one row of jumps belongs to each neighbouring pair.
        across = difference_HWC if axis == 0 else difference_HWC.transpose(1, 0, 2)
        jumps_HW = np.abs(np.diff(across, axis=0)).mean(2, dtype=np.float64)
        is_border = np.arange(1, across.shape[0]) % steps[axis] == 0
        border_sum += jumps_HW[is_border].sum()
        border_count += jumps_HW[is_border].size
        inside_sum += jumps_HW[~is_border].sum()
        inside_count += jumps_HW[~is_border].size
        for line in jumps_HW[is_border]:
            parts = np.split(line, range(steps[1 - axis], len(line), steps[1 - axis]))
            worst = max(worst, *(float(part.mean()) for part in parts))
    return Seams(
        float(border_sum / border_count) if border_count else 0.0,
        float(inside_sum / inside_count) if inside_count else 0.0,
        worst,
    )


def _differing(selected_T: Sequence[str], columns: int) -> float:
    """Share of pairs of tiles with a common border that select different degradations."""
    lines = [selected_T[i : i + columns] for i in range(0, len(selected_T), columns)]
    beside = [pair for line in lines for pair in itertools.pairwise(line)]
    below = [pair for a, b in itertools.pairwise(lines) for pair in zip(a, b, strict=True)]
    pairs = [*beside, *below]
    return sum(a != b for a, b in pairs) / len(pairs) if pairs else 0.0
