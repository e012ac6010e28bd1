"""A run of a suite of latency, in numbered steps.

1. Peers: from the cache, or exported into it.
2. Kernels of the roofline: written to a temporary folder.
3. For each number of threads: a process for each file, then interleaved rounds of all of them.
4. Roofs, shares and ratios.

What cannot run here becomes a row with its reason and does not stop the rest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cpl_edge.benchmark.builds import Build
from cpl_edge.benchmark.fingerprint import busy_note, fingerprint
from cpl_edge.benchmark.peers import check_peers, peer_file
from cpl_edge.benchmark.process import Refused, Worker
from cpl_edge.benchmark.roofline import Product, roofs, write_products
from cpl_edge.benchmark.rounds import Entry, run_rounds, time_limit, warm_up
from cpl_edge.benchmark.rows import described, kernel_of, ratios, rows_of, with_share
from cpl_edge.benchmark.schema import Kernel, LatencyRun, Mode, Row
from cpl_edge.benchmark.subject import COPY, COPY_BYTES, Subject
from cpl_edge.benchmark.suites import LatencySuite, Rule
from cpl_edge.cli import track
from cpl_edge.errors import CplEdgeError
from cpl_edge.machine import versions

KERNEL_SHARE = 1 / 12
"""Of a row's seconds, for each kernel of the roofline: there are many, and they vary little."""


@dataclass
class Bench:
    """What is measured, as it comes together.

    Attributes:
        suite: what to do.
        rule: when a row has enough.
        builds: of students.
        peers: name -> file, or the reason why there is none.
        products: name -> kernel of the roofline and its file.
        rows: results.
        kernels: results.
        copies: threads -> 10^9 bytes a second.
        notes: for the reader.
    """

    suite: LatencySuite
    rule: Rule
    builds: Sequence[Build]
    peers: dict[str, Path | str] = field(default_factory=dict)
    products: dict[str, tuple[Product, Path]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    copies: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_latency(
    suite: LatencySuite,
    builds: Sequence[Build],
    *,
    quick: bool = False,
    minutes: float | None = None,
    cache: Path = Path("build/peers"),
    say: Callable[[str], None] = lambda line: None,
) -> LatencyRun:
    """Measure builds, peers and the machine.

    Args:
        suite: what to measure, and how often.
        builds: of students.
        quick: use the suite's rule for quick runs.
        minutes: most minutes of the whole run. Slow rows give way first; one query of each is
            always made.
        cache: folder of the peers' files.
        say: told what begins, a line each.

    Raises:
        UserError: there is no such peer.
        MissingExtra: a peer needs packages that are not installed.
    """
    check_peers(suite.peers)
    mode: Mode = "quick" if quick else "full"
    begin, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    machine = fingerprint()
    bench = Bench(suite, suite.quick if quick else suite.full, builds)
    bench.notes += [note for note in [busy_note(machine)] if note]
    if quick:
        bench.notes.append("a quick run: too short to be quoted")
    counts = _thread_counts(suite, machine["usable_cores"], bench.notes)
    say("1/4 peers")
    for name in track(suite.peers, "peers"):
        try:
            bench.peers[name] = peer_file(name, suite.peer_size, cache)
        except CplEdgeError as error:
            bench.peers[name] = str(error)
    with tempfile.TemporaryDirectory() as folder:
        say("2/4 kernels of the roofline")
        if suite.roofline:
            bench.products = write_products(Path(folder))
        for index, threads in enumerate(counts):
            say(f"3/4 {threads} thread" + "s" * (threads > 1))
            left = None if minutes is None else begin + minutes * 60 - time.monotonic()
            _measure(bench, threads, None if left is None else left / (len(counts) - index))
    say("4/4 shares and ratios")
    roofline = roofs(bench.kernels, bench.copies)
    rows = tuple(with_share(row, roofline) for row in bench.rows)
    return LatencyRun(
        format=1,
        kind="latency",
        suite=suite.name,
        mode=mode,
        started=started,
        seconds=round(time.monotonic() - begin, 1),
        limit_minutes=minutes,
        machine=machine,
        versions=versions(),
        rule={k: float(v) for k, v in bench.rule.model_dump().items()},
        reference=suite.reference,
        roofline=roofline,
        kernels=tuple(bench.kernels),
        rows=rows,
        ratios=tuple(ratios(rows)),
        notes=tuple(bench.notes),
    )


def _thread_counts(suite: LatencySuite, cores: int | None, notes: list[str]) -> list[int]:
    counts = [n for n in suite.threads if cores is None or n <= cores]
    if dropped := sorted(set(suite.threads) - set(counts)):
        words = ", ".join(map(str, dropped))
        notes.append(f"not measured at {words} threads: there are {cores} cores")
    return counts


def _measure(bench: Bench, threads: int, seconds: float | None) -> None:
    """Step 3, for one number of threads."""
    start = time.monotonic()
    rule = bench.rule
    with ExitStack() as stack:
        workers: dict[str, Worker | str] = {}
        subjects = list(_subjects(bench, threads))
        for subject in track(subjects, f"opening, {threads} threads"):
            try:
                worker = Worker(subject)
            except Refused as error:
                workers[subject.name] = str(error)
                continue
            workers[subject.name] = worker
            stack.callback(worker.close)
        entries = [
            Entry(worker, name, rule.queries, rule.seconds * _share(bench, worker.subject))
            for worker in workers.values()
            if isinstance(worker, Worker)
            for name in worker.hello["first_ms"]
        ]
        for _ in track(warm_up(entries, rule.warmup), "warming up", len(entries)):
            pass
        limit = float("inf")
        if seconds is not None:
            limit = time_limit(entries, seconds - (time.monotonic() - start))
        steps = run_rounds(entries, rule.rounds, limit)
        for _ in track(steps, f"timing, {threads} threads", len(entries) * rule.rounds):
            pass
        _record(bench, threads, workers, entries)


def _subjects(bench: Bench, threads: int) -> Iterator[Subject]:
    if bench.suite.roofline:
        yield Subject(str(COPY), True, COPY, threads)
    for name, (_, path) in bench.products.items():
        yield Subject(name, True, path, threads)
    for build in bench.builds:
        if build.refused is None:
            yield Subject(build.name, False, build.path, threads, bench.suite.entry_points)
    for name, file in bench.peers.items():
        if isinstance(file, Path):
            yield Subject(name, True, file, threads)


def _share(bench: Bench, subject: Subject) -> float:
    is_kernel = subject.name in bench.products or subject.path == COPY
    return KERNEL_SHARE if is_kernel else 1.0


def _record(
    bench: Bench, threads: int, workers: dict[str, Worker | str], entries: Sequence[Entry]
) -> None:
    """Turn what was timed into kernels and rows."""
    for entry in entries:
        name = entry.worker.subject.name
        if entry.worker.subject.path == COPY and entry.times_ms:
            bench.copies[threads] = round(COPY_BYTES / np.median(entry.times_ms) / 1e6, 3)
        elif name in bench.products and entry.times_ms:
            bench.kernels.append(kernel_of(bench.products[name][0], threads, entry))
    for build in bench.builds:
        base = described(build.name, "student", build.path, build.where, build.info)
        bench.rows += rows_of(base, threads, workers.get(build.name, build.refused), entries)
    for name, file in bench.peers.items():
        path = file if isinstance(file, Path) else Path(f"{name}.onnx")
        base = described(name, "peer", path, f"peers/{path.name}", {})
        held = workers.get(name, file if isinstance(file, str) else None)
        bench.rows += rows_of(base, threads, held, entries)
