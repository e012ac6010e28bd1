"""The one table that every profile becomes, whatever runtime or device it came from.

A file of ``--json`` is a :class:`Profiles`; each :class:`Profile` in it is one model file on
one device. Times are of one call of one entry point: the median over the measured calls, or their
mean where the source tells no more. What a source does not tell is None, and ``"unknown"`` for a
name: nothing here is guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpl_edge.errors import UserError

UNKNOWN = "unknown"
"""Module, level, delegate or device that the source does not tell."""

Kind = Literal[
    "onnxruntime", "litert", "torch", "etdump", "benchmark_model", "coreml", "android", "executorch"
]
Mapping = Literal["name", "order", "unknown"]
"""How a row's module was found: by names in the file, by the student's order of convolutions and
linear layers, or not at all."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Row(_Strict):
    """One operator of an entry point.

    Attributes:
        entry: entry point, ``forward``, ``route`` or ``restore``.
        name: what the runtime calls this node.
        module: path in the student, e.g. ``encoder.0.expand``, ``router.conv1``, ``tail``; several
            joined by ``+`` where the runtime runs them as one; ``unknown``.
        level: ``full``, ``half`` or ``quarter`` resolution, ``router``, or ``unknown``.
        block: residual block that the operator belongs to, e.g. ``encoder.0``, or None.
        prompt_site: block whose prompt this operator computes (scale, shift) or multiplies with,
            or None.
        mapping: how ``module`` was found; never by a guess.
        operator: the runtime's word, e.g. ``Conv`` or ``CONV_2D``.
        delegate: what ran it, e.g. ``XNNPACK``, ``CPUExecutionProvider``, ``CPU``, ``GPU``.
        calls: how often one call of the entry point runs it.
        microseconds: of one call of the entry point, all ``calls`` together; None if not told.
        share: of the sum over the rows of this entry point, 0 to 1; None if not told.
        macs: multiply-accumulates of one call of the entry point, or None if unknown.
        gops: 10^9 operations a second, 2 operations for each multiply-accumulate, or None.
    """

    entry: str
    name: str
    module: str = UNKNOWN
    level: str = UNKNOWN
    block: str | None = None
    prompt_site: str | None = None
    mapping: Mapping = "unknown"
    operator: str
    delegate: str = UNKNOWN
    calls: int = Field(default=1, ge=0)
    microseconds: float | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)
    macs: int | None = Field(default=None, ge=0)
    gops: float | None = Field(default=None, ge=0)


class Call(_Strict):
    """One entry point as a whole.

    Attributes:
        entry: its name.
        runs: measured calls.
        mean_ms: mean time of a call as the source measured it around the whole call, or None.
        p50_ms: median, or None; likewise the others.
        first_ms: the very first call, or None.
        macs: multiply-accumulates of one call, or None if unknown.
    """

    entry: str
    runs: int | None = Field(default=None, ge=0)
    mean_ms: float | None = Field(default=None, ge=0)
    p50_ms: float | None = Field(default=None, ge=0)
    p90_ms: float | None = Field(default=None, ge=0)
    p99_ms: float | None = Field(default=None, ge=0)
    min_ms: float | None = Field(default=None, ge=0)
    max_ms: float | None = Field(default=None, ge=0)
    first_ms: float | None = Field(default=None, ge=0)
    macs: int | None = Field(default=None, ge=0)


class Outside(_Strict):
    """An operator that the accelerator did not take.

    Attributes:
        entry: entry point.
        operator: the runtime's word.
        module: where it is in the student, several joined by ``, ``; or ``unknown``.
        ran_on: what ran it instead.
        count: nodes of this operator.
        microseconds: of all of them in one call, or None.
        reason: why it was left.
        rewrite: what would help.
    """

    entry: str
    operator: str
    module: str = UNKNOWN
    ran_on: str = UNKNOWN
    count: int = Field(default=1, ge=1)
    microseconds: float | None = Field(default=None, ge=0)
    reason: str
    rewrite: str


class Device(_Strict):
    """Where it ran.

    Attributes:
        name: processor or phone, ``unknown`` if the source does not tell.
        here: whether it ran on the machine that made this table.
        details: anything else the source tells: Android version, SoC, thermal state, ...
    """

    name: str = UNKNOWN
    here: bool = False
    details: dict[str, str] = {}


class Profile(_Strict):
    """One model file on one device.

    Attributes:
        kind: what kind of source this came from.
        source: name of the imported file, or ``measured here``.
        model: name of the model file, or None if the source does not tell.
        student: its student, target, precision and routing, or None.
        bytes: size of the model file, or None.
        device: where it ran.
        runtime: its name and version, as far as told.
        threads: CPU threads, or None.
        accelerator: what should have taken every operator; None where there is none, and then
            ``outside`` is empty because nothing was asked for.
        load_ms: opening the file, or None.
        memory_peak_mb: highest resident memory of the process, 10^6 bytes, or None.
        calls: the entry points as wholes.
        rows: their operators; empty where the source measures whole calls only.
        outside: operators left outside the accelerator.
        notes: what a reader must know, first of all whether this ran on a phone.
        error: why there are no figures, or None.
    """

    kind: Kind
    source: str
    model: str | None = None
    student: str | None = None
    target: str | None = None
    precision: str | None = None
    routing: str | None = None
    bytes: int | None = Field(default=None, ge=0)
    device: Device = Device()
    runtime: str = UNKNOWN
    threads: int | None = Field(default=None, ge=1)
    accelerator: str | None = None
    load_ms: float | None = Field(default=None, ge=0)
    memory_peak_mb: float | None = Field(default=None, ge=0)
    calls: tuple[Call, ...] = ()
    rows: tuple[Row, ...] = ()
    outside: tuple[Outside, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None


class Profiles(_Strict):
    """What ``python -m cpl_edge.profile --json FILE`` writes.

    Attributes:
        format: version of this schema; a file with another one is refused.
        kind: says what the file is, for those who find it.
        made: time, ISO 8601 in UTC.
        machine: that made the table, which is where it ran only if ``device.here``.
        versions: of the packages there.
        profiles: one for each model file.
    """

    format: Literal[1] = 1
    kind: Literal["cpl_edge.profile"] = "cpl_edge.profile"
    made: str
    machine: dict[str, str | int | None]
    versions: dict[str, str]
    profiles: tuple[Profile, ...]


def read_profiles(path: Path) -> Profiles:
    """Read what ``--json`` wrote.

    Raises:
        UserError: no such file, or not what ``--json`` writes.
    """
    try:
        return Profiles.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path} is no profile of this version ({where}: {first['msg']}): "
            "make it again with python -m cpl_edge.profile --json"
        ) from error
