"""Two runs compared by ratios, so that neither the machine nor the day decides.

In each run a row's time is divided, round by round, by that of a reference row: a peer, whose
network is the same in both. The change of a row is the second of these over the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpl_edge.benchmark.ratios import Interval, interval, round_ratios
from cpl_edge.benchmark.schema import LatencyRun, Row
from cpl_edge.errors import UserError
from cpl_edge.recipe import nearest

_CORES = 0.75  # of as many cores as threads; a virtual machine may lack some for hours


@dataclass(frozen=True)
class Change:
    """What became of one row.

    Attributes:
        name: of the file.
        entry_point: of the file.
        threads: CPU threads.
        found: time in the second run over that in the first; None if one of them has no time.
        verdict: ``same``, ``faster``, ``slower``, ``slower?`` (past the threshold, but it may be
            chance: the interval holds 1, or one round has none), or why there is no ratio.
    """

    name: str
    entry_point: str
    threads: int
    found: Interval | None
    verdict: str

    @property
    def label(self) -> str:
        """Name, and the entry point unless it is the usual one."""
        return self.name if self.entry_point == "forward" else f"{self.name} {self.entry_point}"

    @property
    def is_regression(self) -> bool:
        """Slower by more than the threshold, and surely slower at all."""
        return self.verdict == "slower"


def compare(
    first: LatencyRun, second: LatencyRun, threshold: float, reference: str | None = None
) -> list[Change]:
    """Compare every student's row of two runs.

    Args:
        first: the older run.
        second: the newer run.
        threshold: from which ratio a row is slower, above 1.
        reference: name of the reference row; None takes the first run's own, or else a peer.

    Returns:
        A change for every row of either run; look at ``is_regression``.

    Raises:
        UserError: the runs have no common reference or no common row, or a wrong threshold.
    """
    if not threshold > 1:
        raise UserError(f"a threshold of {threshold} marks everything: give one above 1, as 1.05")
    name = _reference(first, second, reference)
    old = {row.key: row for row in first.rows if row.kind == "student" and row.name != name}
    new = {row.key: row for row in second.rows if row.kind == "student" and row.name != name}
    if not old.keys() & new.keys():
        raise UserError("the two runs have no build in common: compare runs of the same builds")
    changes = []
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        found = None
        if a is None or b is None:
            verdict = f"only in the {'second' if a is None else 'first'} run"
        elif not a.rounds_ms or not b.rounds_ms:
            verdict = f"not measured: {b.refused or a.refused}"
        else:
            others = [_row(run, name, row.threads) for run, row in ((second, b), (first, a))]
            groups = [
                round_ratios(row.rounds_ms, other.rounds_ms)
                for row, other in zip((b, a), others, strict=True)
            ]
            if _cores_worked(others[0]) != _cores_worked(others[1]):
                verdict = "not comparable: all cores worked in one of the runs only"
            elif not all(len(group) for group in groups):
                verdict = f"no round in common with {name}"
            else:
                found = interval(*groups)
                verdict = _verdict(found, threshold)
        changes.append(Change(*key, found, verdict))
    return changes


def _cores_worked(reference: Row) -> bool:
    """Whether all threads had a core; a small network gains less by a second one than a large."""
    worked = reference.cpu_over_wall
    return worked is None or worked >= _CORES * reference.threads


def _verdict(found: Interval, threshold: float) -> str:
    is_sure = found.rounds > 1 and not found.low <= 1 <= found.high
    if found.ratio > threshold:
        return "slower" if is_sure else "slower?"
    return "faster" if found.ratio < 1 / threshold and is_sure else "same"


def _reference(first: LatencyRun, second: LatencyRun, asked: str | None) -> str:
    """The row that both runs have at every number of threads that they share."""
    counts = {row.threads for row in first.rows} & {row.threads for row in second.rows}

    def timed(run: LatencyRun) -> dict[str, bool]:
        """Names of rows with times at all of these numbers -> whether it is a peer."""
        have = {(row.name, row.threads) for row in run.rows if row.rounds_ms}
        return {
            row.name: row.kind == "peer"
            for row in run.rows
            if all((row.name, n) in have for n in counts)
        }

    common = {name: peer for name, peer in timed(first).items() if name in timed(second)}
    if not counts or not common:
        raise UserError("the two runs have no row and number of threads in common")
    if asked is not None:
        if asked not in common:
            raise UserError(f"no row {asked!r} in both runs: {nearest(asked, common)}")
        return asked
    if first.reference in common:
        return str(first.reference)
    peers = [name for name, is_peer in common.items() if is_peer]
    if not peers:
        raise UserError(
            "the two runs have no peer in common: name a build that did not change, --reference "
            f"{next(iter(common))} for example"
        )
    return peers[0]


def _row(run: LatencyRun, name: str, threads: int) -> Row:
    rows = [row for row in run.rows if row.name == name and row.threads == threads]
    return min(rows, key=lambda row: row.entry_point != "forward")
