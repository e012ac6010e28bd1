"""Suites of latency: how long, how often, at how many threads, and which peers, as TOML.

A suite is a file below ``benchmarks/latency/``, or any ``.toml`` file of the user;
benchmarks/README.md explains the keys.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from cpl_edge.recipe import Table, read_toml
from cpl_edge.shipped import shipped_names

KIND = "benchmarks/latency"


class Rule(Table):
    """When a row has enough: at either number, whichever comes first.

    Attributes:
        queries: of one row.
        seconds: of one row.
        rounds: over which both are spread.
        warmup: seconds before anything counts.
    """

    queries: int = Field(ge=1)
    seconds: float = Field(gt=0)
    rounds: int = Field(ge=1)
    warmup: float = Field(ge=0)


class Photos(Table):
    """What ``--photo-suite`` restores.

    Attributes:
        sizes: photos as ``WIDTHxHEIGHT``.
        repeats: processes for each; the median counts.
        routing: suite of `cpl_edge.evaluate` whose photos compare photo-level and per-tile
            routing; empty for none.
    """

    sizes: tuple[str, ...] = Field(min_length=1)
    repeats: int = Field(default=3, ge=1)
    routing: str = ""

    @field_validator("sizes")
    @classmethod
    def _are_sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for size in sizes:
            if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", size):
                raise ValueError(f"{size!r} is no size: write WIDTHxHEIGHT, such as 4000x3000")
        return sizes

    @property
    def pixels(self) -> list[tuple[int, int]]:
        """Width and height of each, smallest first."""
        pairs = [tuple(map(int, size.split("x"))) for size in self.sizes]
        return sorted(((w, h) for w, h in pairs), key=lambda pair: pair[0] * pair[1])


class LatencySuite(Table):
    """One suite.

    Attributes:
        name: unique name.
        about: one line for people.
        threads: of the runtimes; each number is a measurement of its own.
        entry_points: that are timed where a file has them; ``restore`` where it has none of them.
        peers: keys of `cpl_edge.models.peers.PEERS`.
        peer_size: height and width of the peers' images in pixels.
        roofline: whether to measure the machine's ceilings.
        reference: the row that other runs are compared through: a peer or a build.
        full: when a row has enough.
        quick: likewise with ``--quick``.
        photos: see `Photos`.
    """

    name: str
    about: str
    threads: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    entry_points: tuple[Literal["forward", "route", "restore"], ...] = ("forward",)
    peers: tuple[str, ...] = ()
    peer_size: tuple[int, int] = (256, 256)
    roofline: bool = True
    reference: str | None = None
    full: Rule
    quick: Rule
    photos: Photos | None = None

    @field_validator("threads")
    @classmethod
    def _are_threads(cls, threads: tuple[int, ...]) -> tuple[int, ...]:
        if min(threads) < 1 or len(set(threads)) != len(threads):
            raise ValueError("threads must be different numbers of 1 or more")
        return threads


def latency_suites() -> list[str]:
    """Names of the suites that come with the product."""
    return shipped_names(KIND, ".toml")


def load_latency_suite(name_or_path: str) -> LatencySuite:
    """Read a suite.

    Args:
        name_or_path: name of a shipped suite (``"default"``), or a file that ends in ``.toml``.

    Raises:
        UserError: no such suite or file, or a wrong key or value, with the nearest right one.
    """
    return read_toml(name_or_path, LatencySuite, KIND, "suite")
