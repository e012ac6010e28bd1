"""What a benchmark leaves behind: the JSON files of ``benchmarks/results``, as pydantic tables.

A latency run is ``latency-*.json``, a run of whole photos ``photos-*.json``; ``kind`` says which.
Times are milliseconds of wall time unless named otherwise, memory is in 10^6 bytes, and what was
not measured is null, with the reason in ``refused`` where a whole row could not be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from cpl_edge.errors import UserError
from cpl_edge.recipe import Table

FORMAT = 1
"""Version of these files; a file with another one is refused."""

Mode = Literal["quick", "full"]


class Kernel(Table):
    """One matrix product that stands for what the machine can do.

    Attributes:
        name: runtime, operator and shape, such as ``"litert conv 1x1 4096x512x512 int8"``.
        runtime: ``litert`` or ``onnx``.
        precision: of its operands.
        threads: CPU threads.
        macs: multiply-accumulates of one call.
        queries: how many calls were timed.
        p50_ms: median time of a call.
        gops: 2 * macs over the median, in 10^9 operations a second.
    """

    name: str
    runtime: str
    precision: Literal["fp32", "int8"]
    threads: int = Field(ge=1)
    macs: int = Field(ge=1)
    queries: int = Field(ge=1)
    p50_ms: float = Field(gt=0)
    gops: float = Field(gt=0)


class Roof(Table):
    """The machine's ceilings at a number of threads, measured among the builds of the same run.

    Attributes:
        threads: CPU threads.
        fp32_gflops: of the fastest fp32 kernel, in 10^9 operations a second (2 for each MAC).
        fp32_kernel: name of that kernel.
        int8_gops: likewise for int8.
        int8_kernel: name of that kernel.
        copy_gb_s: 10^9 bytes a second, read and written, of copying arrays beyond the caches.
    """

    threads: int = Field(ge=1)
    fp32_gflops: float | None = None
    fp32_kernel: str | None = None
    int8_gops: float | None = None
    int8_kernel: str | None = None
    copy_gb_s: float | None = None


class Row(Table):
    """One entry point of one model file at one number of threads.

    Attributes:
        name: of the build's folder, the given file or the peer; unique in a run.
        kind: ``student``, or ``peer``: another network, with random weights.
        path: of the model file, below the builds' folder.
        digest: sha256 of the student's weights, or of a peer's file.
        student: name of the student; None for a peer.
        target: as in `cpl_edge.runtimes.ModelInfo`.
        runtime: one of `cpl_edge.runtimes.RUNTIMES`, with its version in ``versions``.
        precision: ``fp32``, ``w8a8``, ...
        routing: ``auto``, ``split``, ``told`` or ``pinned``; None for a peer.
        pinned: the degradation that a told or pinned build is for, or None.
        entry_point: ``forward``, ``route`` or ``restore``.
        height: of the image in pixels.
        width: of the image in pixels.
        threads: CPU threads of the runtime.
        queries: how many were timed, warm-up not counted.
        seconds: that they took.
        complete: whether the suite's number of queries or seconds was reached, and not stopped by
            a limit on the whole run.
        p50_ms: median time of a query, then the 90th and 99th percentile and the mean.
        rounds_ms: median of each round; None where a slow model had no query in a round. Rounds
            of the same number of threads were interleaved, so ratios are taken round by round.
        cold_load_ms: opening the file in a fresh process that holds the runtime's library already.
        first_ms: first query after that.
        baseline_mb: resident memory of the process with the runtime's library, before opening.
        peak_mb: highest resident memory of the process.
        file_bytes: size of the model file, or of all files of a package.
        macs: multiply-accumulates of a query of ``forward``; None if unknown, as for ``route``.
        parameters: of the network; None if unknown.
        cpu_over_wall: processor time over wall time of the queries: 2 means that two cores worked.
        gops: 2 * macs over the median, in 10^9 operations a second.
        peak_of: ``int8`` where weights and activations have 8 bits, else ``fp32``.
        share_of_peak: gops over the roof of ``peak_of`` at this number of threads.
        refused: why nothing was measured, in one line, or None.
    """

    name: str
    kind: Literal["student", "peer"]
    path: str
    digest: str
    student: str | None = None
    target: str
    runtime: str
    precision: str
    routing: str | None = None
    pinned: str | None = None
    entry_point: str
    height: int | None = None
    width: int | None = None
    threads: int = Field(ge=1)
    queries: int = Field(default=0, ge=0)
    seconds: float = Field(default=0, ge=0)
    complete: bool = False
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None
    rounds_ms: tuple[float | None, ...] = ()
    cold_load_ms: float | None = None
    first_ms: float | None = None
    baseline_mb: float | None = None
    peak_mb: float | None = None
    file_bytes: int = Field(ge=0)
    macs: int | None = None
    parameters: int | None = None
    cpu_over_wall: float | None = None
    gops: float | None = None
    peak_of: Literal["fp32", "int8"] = "fp32"
    share_of_peak: float | None = None
    refused: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What names a row in a run."""
        return self.name, self.entry_point, self.threads


class Ratio(Table):
    """How many times faster ``b`` answers than ``a``.

    Attributes:
        a: name of the slower row, usually a peer.
        b: name of the other row.
        entry_a: entry point of ``a``.
        entry_b: entry point of ``b``.
        threads: CPU threads of both.
        ratio: time of a over time of b, geometric mean over the rounds that both took part in.
        low: lower end of the 95 % interval, by bootstrap over those rounds.
        high: upper end.
        rounds: how many there were.
    """

    a: str
    b: str
    entry_a: str
    entry_b: str
    threads: int = Field(ge=1)
    ratio: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    rounds: int = Field(ge=1)


class LatencyRun(Table):
    """One run of a suite of latency.

    Attributes:
        format: :data:`FORMAT`.
        kind: ``latency``.
        suite: name of the suite.
        mode: ``quick`` runs are marked: too short to be quoted.
        started: in UTC, ISO 8601.
        seconds: that the whole run took.
        limit_minutes: what the run was limited to, or None.
        machine: processor, its features, cores, governor, memory, load when it began, ...
        versions: of the product and of the packages that matter.
        rule: ``queries``, ``seconds`` and ``rounds`` that a row had to reach.
        reference: name of the row that other runs are compared through.
        roofline: the machine's ceilings, one for each number of threads.
        kernels: all that were tried for them.
        rows: what was measured, and what was refused.
        ratios: each peer to each student's build, and so on.
        notes: what a reader must know, such as a busy machine.
    """

    format: Literal[1]
    kind: Literal["latency"]
    suite: str
    mode: Mode
    started: str
    seconds: float = Field(ge=0)
    limit_minutes: float | None = None
    machine: dict[str, Any]
    versions: dict[str, str]
    rule: dict[str, float]
    reference: str | None = None
    roofline: tuple[Roof, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...] = ()
    notes: tuple[str, ...] = ()


class PhotoRow(Table):
    """One size of photo, restored in a process of its own.

    Attributes:
        width: in pixels.
        height: in pixels.
        megapixels: of both.
        tiles: how many there were.
        threads: CPU threads.
        total_seconds: restoring; reading and writing files not counted. Median of the repeats.
        network_seconds: of that, inside calls of the model.
        ratio: total over network.
        baseline_mb: resident memory once the model is open and has run.
        peak_mb: highest resident memory.
        beyond_mb: peak minus baseline.
        photo_mb: of the photo and its result, which nothing can do without.
        working_mb: beyond_mb minus photo_mb: what should not grow.
        repeats: how many processes there were.
    """

    width: int
    height: int
    megapixels: float
    tiles: int
    threads: int
    total_seconds: float
    network_seconds: float
    ratio: float
    baseline_mb: float
    peak_mb: float
    beyond_mb: float
    photo_mb: float
    working_mb: float
    repeats: int


class RoutingRow(Table):
    """Routing once per photo against routing every tile alone, on one degraded photo.

    Attributes:
        photo: name of the photo.
        label: what was done to it.
        width: in pixels.
        height: in pixels.
        tiles: how many there were.
        selected: degradation that the photo's weights select.
        certainty: of the router in it, from 0 to 1.
        selected_by_tile: degradation -> number of tiles that select it alone.
        disagreeing: share of tiles that select another degradation than the photo.
        neighbours_differing: share of pairs of neighbouring tiles that select differently.
        weights_spread: largest difference of a prompt's weight between two tiles.
        seam_step: mean step of (per-tile minus photo-level result) across tile borders, in 1/255.
        inside_step: the same between other neighbouring pixels: what a seam stands out from.
        worst_seam: mean step of the worst border, in 1/255.
        psnr_photo: of the photo-level result against the clean photo, in dB.
        psnr_tile: of the per-tile result.
    """

    photo: str
    label: str
    width: int
    height: int
    tiles: int
    selected: str
    certainty: float
    selected_by_tile: dict[str, int]
    disagreeing: float
    neighbours_differing: float
    weights_spread: float
    seam_step: float
    inside_step: float
    worst_seam: float
    psnr_photo: float
    psnr_tile: float


class PhotoRun(Table):
    """One run over sizes of photos.

    Attributes:
        format: :data:`FORMAT`.
        kind: ``photos``.
        suite: name of the suite.
        mode: see `LatencyRun`.
        started: in UTC, ISO 8601.
        model: the model file.
        digest: sha256 of the student's weights.
        machine: see `LatencyRun`.
        versions: see `LatencyRun`.
        rows: one for each size, smallest first.
        time_exponent: e where total time grows as megapixels^e; 1 is linear. None for one size.
        memory_slope: working memory that each further megapixel takes, in 10^6 bytes; 0 is flat.
        routing: photo-level and per-tile routing compared; empty where the file cannot be told.
        notes: what a reader must know.
    """

    format: Literal[1]
    kind: Literal["photos"]
    suite: str
    mode: Mode
    started: str
    model: str
    digest: str
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: tuple[PhotoRow, ...]
    time_exponent: float | None = None
    memory_slope: float | None = None
    routing: tuple[RoutingRow, ...] = ()
    notes: tuple[str, ...] = ()


T = TypeVar("T", LatencyRun, PhotoRun)


def read_run(path: Path, table: type[T]) -> T:
    """Read a result.

    Args:
        path: a file of ``benchmarks/results``.
        table: `LatencyRun` or `PhotoRun`.

    Raises:
        UserError: no such file, damaged, or a result of another kind or version.
    """
    wanted = "latency" if table is LatencyRun else "photos"
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise UserError(f"{path} is no JSON: give a file that a benchmark wrote") from error
    if not isinstance(values, dict) or values.get("kind") != wanted:
        raise UserError(f"{path} is no {wanted} result: give a file that a benchmark wrote")
    if values.get("format") != FORMAT:
        raise UserError(
            f"{path} has version {values.get('format')!r} and this product reads {FORMAT}: "
            "run the benchmark again"
        )
    try:
        return table.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is damaged at {place}: {first['msg']}") from error
