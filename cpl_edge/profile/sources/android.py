"""The Android app's profile: whole calls of several builds, with thermal state and battery.

Its format is written by ``android_demo/core`` (Profile.kt) and described in android_demo/README.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpl_edge.errors import UserError
from cpl_edge.profile.model import NOT_HERE, Model
from cpl_edge.profile.schema import Call, Device, Profile

KIND = "cpl_edge.android"
_Time = Annotated[float | None, Field(ge=0)]


class _Lenient(BaseModel):
    """Later versions of the app may add fields."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Entry(_Lenient):
    first_ms: _Time
    warmup: int
    queries: int
    seconds: _Time
    p50_ms: _Time
    p90_ms: _Time
    p99_ms: _Time
    mean_ms: _Time
    min_ms: _Time
    max_ms: _Time


class _Info(_Lenient):
    student: str
    target: str
    precision: str
    routing: str
    pinned: str | None
    height: int
    width: int
    digest: str


class _Conditions(_Lenient):
    thermal: str | None
    battery_percent: int | None
    charging: bool | None
    battery_celsius: float | None


class _Build(_Lenient):
    file: str
    bytes: int
    sha256: str
    info: _Info | None
    runs: str | None
    threads: int
    load_ms: _Time
    memory_peak_mb: _Time
    entries: dict[Literal["route", "restore", "forward"], _Entry]
    before: _Conditions
    after: _Conditions
    error: str | None


class _File(_Lenient):
    format: Literal[1]
    kind: Literal["cpl_edge.android"]
    app: str
    mode: Literal["full", "quick"]
    started: str
    device: dict[str, str]
    builds: list[_Build]


def recognise(data: Any) -> bool:
    """Whether JSON is a profile of the app."""
    return isinstance(data, dict) and data.get("kind") == KIND


def parse(data: Any, source: str, model: Model) -> list[Profile]:
    """Read a profile of the app.

    Args:
        data: the JSON object.
        source: name of the file.
        model: one of the builds, whose work is then told; may be empty.

    Returns:
        One profile for each build, those that failed included.

    Raises:
        UserError: another version, or damaged.
    """
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{source} is no profile of this version of the app ({where}: {first['msg']}): "
            "share it from the app again"
        ) from error
    return [_profile(file, build, source, model) for build in file.builds]


def _profile(file: _File, build: _Build, source: str, model: Model) -> Profile:
    name = " ".join(filter(None, (file.device.get(key) for key in ("manufacturer", "model"))))
    details = {k: v for k, v in file.device.items() if k not in ("manufacturer", "model")}
    details |= {"app": file.app, "started": file.started}
    for when, state in (("before", build.before), ("after", build.after)):
        told = {k: v for k, v in state.model_dump().items() if v is not None}
        details |= {f"{k.replace('_', ' ')} {when}": str(v) for k, v in told.items()}
    info = build.info
    same = model.info is not None and info is not None and model.info.digest == info.digest
    same = same and model.path is not None and model.path.name == build.file
    notes = [NOT_HERE, "The app times whole calls of one tile; it does not tell single operators."]
    if file.mode == "quick":
        notes.append("Quick mode: 64 calls or 5 s, too few for a p99.")
    if model.path is not None and not same:
        notes.append(f"{model.path.name} is another file than this build: its work was not used.")
    calls = [
        Call(
            entry=entry,
            runs=told.queries,
            macs=model.graphs[entry].macs if same and entry in model.graphs else None,
            **told.model_dump(include=set(Call.model_fields) & set(_Entry.model_fields)),
        )
        for entry, told in build.entries.items()
    ]
    routing = info.routing if info else None
    return Profile(
        kind="android",
        source=source,
        model=build.file,
        student=info.student if info else None,
        target=info.target if info else None,
        precision=info.precision if info else None,
        routing=f"{routing} {info.pinned}" if info and info.pinned else routing,
        bytes=build.bytes,
        device=Device(name=name or "unknown", here=False, details=details),
        runtime=build.runs or "unknown",
        threads=build.threads if build.threads > 0 else None,
        load_ms=build.load_ms,
        memory_peak_mb=build.memory_peak_mb,
        calls=tuple(calls),
        notes=tuple(notes),
        error=build.error,
    )
