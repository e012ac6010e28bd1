"""Timing many entries in interleaved rounds, so that a drifting machine hurts all alike.

1. Warm up every entry, which also tells how long its query takes.
2. Share the time out: an entry ends at its number of queries or seconds, whichever comes first
   (MLPerf Mobile asks for 1,024 queries and 60 s; a model of 5 s a query would need 85 minutes for
   the former). Where all of them together would take longer than the run may, the slow ones give
   way first.
3. Rounds: every entry answers its part of a round, in turn, then in reverse turn. A part that is
   shorter than a query is made up for in later rounds, so few queries spread over all rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cpl_edge.benchmark.process import Refused, Worker

SETTLE_QUERIES, SETTLE_SECONDS = 3, 0.05
"""Not counted at the start of each part: caches and clocks are another process's until then."""


@dataclass
class Entry:
    """One entry point of one open file.

    Attributes:
        worker: the process that holds it.
        name: of the entry point.
        queries: enough of them.
        seconds: enough of them.
        rounds_ms: milliseconds of the counted queries, a list for each round.
        cpu_seconds: processor time of those.
        typical: seconds of a query, from the warm-up.
        refused: why it ended early, or None.
    """

    worker: Worker
    name: str
    queries: int
    seconds: float
    rounds_ms: list[list[float]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    typical: float = 0.0
    refused: str | None = None

    @property
    def times_ms(self) -> list[float]:
        """All counted queries."""
        return [time for times in self.rounds_ms for time in times]

    @property
    def spent(self) -> float:
        """Seconds of the counted queries."""
        return sum(self.times_ms) / 1e3

    @property
    def complete(self) -> bool:
        """Whether it has enough queries or seconds."""
        return len(self.times_ms) >= self.queries or self.spent >= self.seconds

    @property
    def medians_ms(self) -> list[float | None]:
        """Median of each round; None where there was no query."""
        return [float(np.median(times)) if times else None for times in self.rounds_ms]

    def ask(self, queries: int, seconds: float) -> tuple[list[float], float]:
        """Time queries; an entry whose process dies answers no more."""
        if self.refused is not None:
            return [], 0.0
        try:
            return self.worker.run(self.name, queries, seconds)
        except Refused as error:
            self.refused = str(error)
            return [], 0.0


def warm_up(entries: Sequence[Entry], seconds: float) -> Iterator[Entry]:
    """Step 1: run every entry for some seconds, one query at least; yields after each."""
    for entry in entries:
        times, _ = entry.ask(entry.queries, seconds)
        entry.typical = float(np.median(times)) / 1e3 if times else 0.0
        yield entry


def time_limit(entries: Sequence[Entry], budget: float) -> float:
    """Step 2: the most seconds that any entry may take for all to stay within a budget.

    Args:
        entries: warmed up.
        budget: seconds for all.

    Returns:
        The limit; infinite where none is needed.
    """
    wanted = sorted(min(e.seconds, e.queries * e.typical) for e in entries if e.refused is None)
    if sum(wanted) <= budget:
        return float("inf")
    for index, least in enumerate(wanted):  # those who want less than an equal share keep it
        share = budget / (len(wanted) - index)
        if least > share:
            return max(share, 0.0)
        budget -= least
    return float("inf")


def run_rounds(entries: Sequence[Entry], rounds: int, limit: float = float("inf")) -> Iterator[int]:
    """Step 3: time all entries.

    Args:
        entries: warmed up; their results are appended to.
        rounds: how many.
        limit: seconds that an entry may take at most.

    Yields:
        The round's number after every part.
    """
    for index in range(rounds):
        done = (index + 1) / rounds
        for entry in entries if index % 2 == 0 else reversed(entries):
            entry.rounds_ms.append(_part(entry, done, min(limit, entry.seconds)))
            yield index


def _part(entry: Entry, done: float, seconds: float) -> list[float]:
    """What is still missing for a share of the entry's queries and seconds."""
    counted = len(entry.times_ms)
    queries = round(entry.queries * done) - counted
    seconds = seconds * done - entry.spent
    if counted and (queries <= 0 or seconds <= 0):
        return []
    if entry.typical < SETTLE_SECONDS:
        entry.ask(SETTLE_QUERIES, SETTLE_SECONDS)
    times, cpu = entry.ask(max(queries, 1), seconds)
    entry.cpu_seconds += cpu
    return times
