"""Restoring what has several things wrong with it, one after the other.

One selection restores one degradation: noise in haze leaves the haze. A second pass looks at what
the first one left and selects again. It ends by itself where the router names a degradation that
has been restored already, or is not sure: a photo that has nothing wrong any more still gets a
name, and a student that was trained with faint degradations (``variation``: ``weak``) tells by its
certainty that any name would do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy.typing as npt

from cpl_edge.errors import UserError
from cpl_edge.restore.outcome import Restored
from cpl_edge.restore.restorer import AUTO, Progress, Restorer, as_float
from cpl_edge.runtimes.protocol import FloatArray

SURE = 0.8
"""How certain the router must be for another pass. Chosen by hand, with student m on eight photos
of CBSD68; what it costs and gains is measured by ``evaluate --passes``."""


class PassesRestorer:
    """Restores photos in several passes, each with a selection of its own.

    Args:
        restorer: with an open model file.
        most: passes at most.
        sure: probability of its selection that another pass takes.

    Raises:
        UserError: the file does not route apart from restoring, or serves one degradation.
    """

    def __init__(self, restorer: Restorer, most: int, sure: float = SURE) -> None:
        if not {"route", "restore"} <= set(restorer.info.entry_points):
            raise UserError(
                "several passes need a file with 'route' and 'restore': leave the number of passes "
                "at 1, or use a build that is routed 'auto' or 'split'"
            )
        self._restorer, self.most, self.sure = restorer, most, sure

    def check(self, degradation: str | FloatArray) -> None:
        """As :meth:`Restorer.check`; each pass selects for itself."""
        self._restorer.check(degradation)
        if not (isinstance(degradation, str) and degradation == AUTO):
            raise UserError("several passes select for themselves: leave the degradation at auto")

    def restore(
        self,
        image_HWC: npt.NDArray[Any],
        degradation: str | FloatArray = AUTO,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore one photo; see :meth:`Restorer.restore`.

        Returns:
            The photo after the last pass; what the first one selected, and in ``then`` what the
            others did; tiles and seconds of all.
        """
        self.check(degradation)
        tell = None if progress is None else _Told(progress, self.most)
        first = self._restorer.restore(image_HWC, AUTO, tell)
        last, names = first, [first.degradation]
        seconds, tiles = first.seconds, first.tiles
        while len(names) < self.most:
            route = self._restorer.route(last.image_HWC)
            seconds.add(route.seconds)
            name = route.degradation
            assert name is not None and route.weights_SN is not None  # the file routes
            if name in names or route.probabilities[name] < self.sure:
                break
            last = self._restorer.restore(last.image_HWC, route.weights_SN, tell)
            seconds.add(last.seconds)
            tiles += last.tiles
            names.append(last.degradation)
        if tell:
            tell.end()
        then = tuple(str(name) for name in names[1:])
        return replace(first, image_HWC=last.image_HWC, then=then, tiles=tiles)

    def restore_float(
        self, image_HWC: npt.NDArray[Any], degradation: str | FloatArray = AUTO
    ) -> Restored:
        """Restore without rounding; see :meth:`Restorer.restore_float`."""
        return self.restore(as_float(image_HWC), degradation)


def in_passes(restorer: Restorer, most: int) -> Restorer | PassesRestorer:
    """The restorer itself where one pass is asked for, else one of several.

    Args and errors as :class:`PassesRestorer`.
    """
    return PassesRestorer(restorer, most, SURE) if most > 1 else restorer


class _Told:
    """Tells of the tiles of all passes, how many there will be at most."""

    def __init__(self, progress: Progress, passes: int) -> None:
        self._progress, self._passes = progress, passes
        self._done = self._total = 0

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = self._done + 1, total * self._passes
        self._progress(self._done, self._total)

    def end(self) -> None:
        """The passes that were not needed count as done."""
        if self._done < self._total:
            self._progress(self._total, self._total)
