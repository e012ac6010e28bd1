"""Restoring a photo of any size with an open model file.

1. Route once: crops of the photo, logits averaged, one set of prompt weights.
2. For every tile: read its window, call the network, write its core into the result.

Memory beyond the photo and its result does not grow with the photo: one input buffer and one
scratch buffer are used for all tiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import UserError
from cpl_edge.restore import routing
from cpl_edge.restore.outcome import Restored, Route, Seconds
from cpl_edge.restore.tiles import grid, window
from cpl_edge.runtimes.protocol import FloatArray, Runtime, image_buffer

AUTO = "auto"

Progress = Callable[[int, int], None]
"""Called with the number of tiles done and the number of all tiles."""

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


class Restorer:
    """Restores photos with one open model file, which it does not close.

    Args:
        runtime: the open file.
        crops: how many crops of a photo the router sees at most.

    Raises:
        UserError: the file's images are too small for its halo.
    """

    def __init__(self, runtime: Runtime, crops: int = 9) -> None:
        self.runtime = runtime
        self.info = runtime.info
        self.crops = crops
        plan = grid(1, 1, self.info)  # refuses a model without room for a tile
        self._x_BCHW = image_buffer(self.info)
        self._scratch_HWC = np.empty((plan.step_rows, plan.step_columns, 3), np.float32)

    def restore(
        self,
        image_HWC: npt.NDArray[Any],
        degradation: str | FloatArray = AUTO,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore one photo.

        Args:
            image_HWC: RGB: uint8, uint16, or float32 in [0, 1]; 1x1 pixels or more.
            degradation: ``"auto"`` to let the router select, a degradation's name, or prompt
                weights ``w_SN`` (or ``w_N`` for all sites).
            progress: told after every tile.

        Returns:
            The photo, of the same shape and type.

        Raises:
            UserError: the file does not know that degradation, or cannot be told one.
            ValueError: not such an array.
        """
        if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.size == 0:
            raise ValueError(f"image_HWC must be (height, width, 3), not {image_HWC.shape}")
        if image_HWC.dtype not in _WHITE:
            raise ValueError(f"image_HWC must be uint8, uint16 or float32, not {image_HWC.dtype}")
        start = time.perf_counter()
        route = self.route(image_HWC, degradation)
        weights_SN, seconds = route.weights_SN, route.seconds
        result_HWC = np.empty_like(image_HWC, order="C")
        entry = "forward" if weights_SN is None else "restore"
        inputs = (self._x_BCHW,) if weights_SN is None else (self._x_BCHW, weights_SN[None])
        tiles = grid(image_HWC.shape[0], image_HWC.shape[1], self.info)
        white = _WHITE[image_HWC.dtype]
        for done, tile in enumerate(tiles, 1):
            t0 = time.perf_counter()
            self._pack(image_HWC, tile.top, tile.left)
            t1 = time.perf_counter()
            (y_BCHW,) = self.runtime.run(entry, *inputs)
            t2 = time.perf_counter()
            self._unpack(y_BCHW, result_HWC[tile.rows, tile.columns], white)
            t3 = time.perf_counter()
            seconds.network += t2 - t1
            seconds.packing += t1 - t0 + t3 - t2
            if progress is not None:
                progress(done, len(tiles))
        seconds.total = time.perf_counter() - start
        return Restored(
            result_HWC, weights_SN, route.degradation, route.probabilities, len(tiles), seconds
        )

    def restore_float(
        self, image_HWC: npt.NDArray[Any], degradation: str | FloatArray = AUTO
    ) -> Restored:
        """Restore without rounding, for measuring: the result is float32 in [0, 1].

        Args and errors as :meth:`restore`.
        """
        return self.restore(as_float(image_HWC), degradation)

    def check(self, degradation: str | FloatArray) -> None:
        """Refuse what the file cannot be told, before any work.

        Args:
            degradation: as for :meth:`restore`.

        Raises:
            UserError: the file does not know that degradation, or cannot be told one.
        """
        info = self.info
        names, entries = info.degradations, info.entry_points
        if not isinstance(degradation, str):
            if "restore" not in entries:
                raise UserError(
                    "this file takes no weights: use one with the entry point 'restore'"
                )
            self._weights(degradation)
        elif degradation not in (AUTO, *names):
            raise UserError(
                f"no degradation {degradation!r}: choose {AUTO} or one of {', '.join(names)}"
            )
        elif info.pinned is not None and degradation not in (AUTO, info.pinned):
            raise UserError(
                f"this file is pinned to {info.pinned!r} and cannot restore {degradation!r}: "
                "use another file"
            )
        elif info.pinned is None and degradation != AUTO and "restore" not in entries:
            raise UserError(
                "this file takes no choice of the degradation: leave it at auto, or use a file "
                "with the entry point 'restore'"
            )
        elif "restore" in entries and "route" not in entries:
            raise UserError("this file cannot route: give weights, or use one with 'route'")

    def route(self, image_HWC: npt.NDArray[Any], degradation: str | FloatArray = AUTO) -> Route:
        """Weights for all tiles of a photo, what they select, and how sure the router is.

        Args and errors as :meth:`restore`.
        """
        info, names = self.info, self.info.degradations
        self.check(degradation)
        if "restore" not in info.entry_points:
            return Route(None, info.pinned, {})
        if not isinstance(degradation, str):
            weights_SN = self._weights(degradation)
            return Route(weights_SN, self._heaviest(weights_SN), {})
        start, seconds = time.perf_counter(), Seconds()
        logits_SL = self._logits(image_HWC, seconds)
        certainty = routing.probabilities(logits_SL, len(names))
        if degradation == AUTO:
            weights_SN = routing.select(logits_SL, len(names), info.levels)
        else:
            index = names.index(degradation)
            weights_SN = routing.forced(logits_SL, len(names), info.levels, index)
        by_name = {name: float(p) for name, p in zip(names, certainty, strict=True)}
        seconds.total = time.perf_counter() - start
        return Route(weights_SN, self._heaviest(weights_SN), by_name, seconds)

    def _weights(self, given: FloatArray) -> FloatArray:
        weights = np.asarray(given, np.float32)
        shape = (self.info.sites, self.info.prompts)
        if weights.shape not in (shape, shape[1:]) or not np.isfinite(weights).all():
            raise UserError(f"weights must be {shape[1]} finite numbers a site, not {given!r}")
        return np.broadcast_to(weights, shape).copy()

    def _heaviest(self, weights_SN: FloatArray) -> str:
        shares_D = weights_SN.sum(0).reshape(len(self.info.degradations), -1).sum(1)
        return self.info.degradations[int(shares_D.argmax())]

    def _logits(self, image_HWC: npt.NDArray[Any], seconds: Seconds) -> FloatArray:
        """Router outputs, averaged over crops of the photo."""
        photo, crop = image_HWC.shape[:2], (self.info.height, self.info.width)
        origins = routing.crop_origins(photo, crop, self.crops)
        total_SL = np.zeros((), np.float32)
        for top, left in origins:
            t0 = time.perf_counter()
            self._pack(image_HWC, top, left)
            t1 = time.perf_counter()
            _, logits_BSL = self.runtime.run("route", self._x_BCHW)
            seconds.route += time.perf_counter() - t1
            seconds.packing += t1 - t0
            total_SL = total_SL + logits_BSL[0]
        mean_SL: FloatArray = total_SL / np.float32(len(origins))
        return mean_SL

    def _pack(self, image_HWC: npt.NDArray[Any], top: int, left: int) -> None:
        """Fill the input buffer with a window of the photo, scaled to [0, 1]."""
        buffer_HWC = self._x_BCHW[0].transpose(1, 2, 0)
        buffer_HWC[...] = window(image_HWC, top, left, self.info.height, self.info.width)
        white = _WHITE[image_HWC.dtype]
        if white != 1:
            np.divide(self._x_BCHW, np.float32(white), out=self._x_BCHW)

    def _unpack(self, y_BCHW: FloatArray, core_HWC: npt.NDArray[Any], white: float) -> None:
        """Write a tile's core into the result: clipped, scaled, rounded half up."""
        rows, columns = core_HWC.shape[:2]
        halo = self.info.halo
        y_HWC = y_BCHW[0].transpose(1, 2, 0)[halo : halo + rows, halo : halo + columns]
        scratch_HWC = self._scratch_HWC[:rows, :columns]
        np.clip(y_HWC, 0, 1, out=scratch_HWC)
        if white != 1:
            np.multiply(scratch_HWC, np.float32(white), out=scratch_HWC)
            np.add(scratch_HWC, np.float32(0.5), out=scratch_HWC)
        core_HWC[...] = scratch_HWC  # integers: towards zero


def as_float(image_HWC: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An image of integers as float32 in [0, 1]; any other one as it is."""
    if image_HWC.dtype in _WHITE and image_HWC.dtype != np.float32:
        return image_HWC.astype(np.float32) / np.float32(_WHITE[image_HWC.dtype])
    return image_HWC
