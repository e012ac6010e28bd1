"""What restoring a photo gives, and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from cpl_edge.runtimes.protocol import FloatArray


@dataclass
class Seconds:
    """Where the time of one photo went, in seconds of wall time.

    Attributes:
        route: the calls that route.
        network: the calls that restore tiles.
        packing: cutting tiles out and writing them back.
        total: everything.
    """

    route: float = 0.0
    network: float = 0.0
    packing: float = 0.0
    total: float = 0.0

    def add(self, other: Seconds) -> None:
        """Count another run as well."""
        self.route += other.route
        self.network += other.network
        self.packing += other.packing
        self.total += other.total


@dataclass(frozen=True)
class Route:
    """What the router says about a photo.

    Attributes:
        weights_SN: prompt weights of all tiles; None where the file decides inside.
        degradation: the selected one; None where the file does not tell.
        probabilities: the router's certainty by degradation; empty where nothing was routed.
        seconds: where the time went.
    """

    weights_SN: FloatArray | None
    degradation: str | None
    probabilities: dict[str, float]
    seconds: Seconds = field(default_factory=Seconds)


@dataclass(frozen=True)
class Restored:
    """A restored photo.

    Attributes:
        image_HWC: RGB, of the input's type and scale; float32 is clipped to [0, 1].
        weights_SN: prompt weights of all tiles; None where the file decides inside.
        degradation: the selected one; None where the file does not tell.
        probabilities: the router's certainty by degradation; empty where nothing was routed.
        tiles: how many there were.
        seconds: where the time went.
        then: what later passes selected (:mod:`cpl_edge.restore.passes`).
    """

    image_HWC: npt.NDArray[Any]
    weights_SN: FloatArray | None
    degradation: str | None
    probabilities: dict[str, float]
    tiles: int
    seconds: Seconds = field(default_factory=Seconds)
    then: tuple[str, ...] = ()
