"""Profiles from files: what kind a file is, its content tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.schema import Profile, Profiles
from cpl_edge.profile.sources import android, benchmark_model, coreml, executorch, onnxruntime

_KINDS = (
    "an ETDump, the output of benchmark_model --enable_op_profiling, a Core ML performance report "
    "as JSON, a profile of ONNX Runtime, or one of the Android app"
)
_LARGEST = 512 * 2**20


def import_profile(
    path: Path, model: Model, entry: str, etrecord: Path | None = None
) -> list[Profile]:
    """Read a profile that was made elsewhere.

    Args:
        path: the file; its name does not matter.
        model: the file that was profiled, for modules and work; may be empty.
        entry: entry point, for kinds of file that do not tell.
        etrecord: for an ETDump, the record that the export kept.

    Returns:
        One profile for each model file in it.

    Raises:
        UserError: no such file, empty, truncated, or of no known kind.
    """
    data = _read(path)
    if executorch.recognise(data[:16]):
        if etrecord is not None and not etrecord.is_file():
            raise UserError(f"{etrecord} does not exist: check the path of the ETRecord")
        return [executorch.parse(path, model, entry, etrecord)]
    if etrecord is not None:
        raise UserError(f"{path} is no ETDump, so an ETRecord does not fit: leave --etrecord out")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is of no known kind: give {_KINDS}") from error
    if text.lstrip()[:1] in ("{", "["):
        return _import_json(_load(path, text), path.name, model, entry)
    if benchmark_model.recognise(text):
        return [benchmark_model.parse(text, path.name, model, entry)]
    hint = ""
    if "Inference timings in us" in text:
        hint = " (it has times but no table of operators: add --enable_op_profiling=true)"
    raise UserError(f"{path} is of no known kind{hint}: give {_KINDS}")


def _read(path: Path) -> bytes:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}: give the file of a profile")
    if path.stat().st_size > _LARGEST:
        raise UserError(f"{path} has more than 512 MB: profile fewer calls")
    data = path.read_bytes()
    if not data.strip():
        raise UserError(f"{path} is empty: pull or export the profile again")
    return data


def _load(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is damaged or truncated JSON (line {error.lineno}: {error.msg}): "
            "pull or export the profile again"
        ) from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply for a profile: give {_KINDS}") from error


def _import_json(data: Any, name: str, model: Model, entry: str) -> list[Profile]:
    if android.recognise(data):
        return android.parse(data, name, model)
    if isinstance(data, dict) and data.get("kind") == Profiles.model_fields["kind"].default:
        raise UserError(f"{name} is a table that this verb wrote: import what it was made from")
    try:
        if onnxruntime.recognise(data):
            return [onnxruntime.parse(data, name, model, entry)]
        if coreml.recognise(data):
            return [coreml.parse(data, name, model, entry)]
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{name} is damaged ({type(error).__name__}: {error}): export the profile again"
        ) from error
    raise UserError(f"{name} is JSON of no known kind: give {_KINDS}")
