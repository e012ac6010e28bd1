"""Reading a folder of results: every JSON file is known for what it is, or named as a problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cpl_edge.benchmark.schema import LatencyRun, PhotoRun
from cpl_edge.errors import UserError
from cpl_edge.profile.schema import Profiles
from cpl_edge.report.formats import (
    BuildCard,
    Evaluation,
    Photo,
    Prompts,
    Search,
    StudentCard,
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Found(Generic[T]):
    """One result and the name of the file it stands in, below the results' folder."""

    file: str
    value: T


@dataclass
class Results:
    """Everything that a report shows, in the order of the files' names.

    Attributes:
        students: cards of the shipped weights.
        builds: cards of builds that passed their gates, and of those that were refused.
        evaluations: suites.
        latency: latency runs.
        photos: runs of whole photos.
        single_photos: single photos of ``--photo``, which tell neither suite nor date.
        profiles: operator tables.
        prompts: prompt reports.
        searches: candidates trained on one budget.
        problems: one line for each file that could not be used.
        files: names of the files that were read.
    """

    students: list[Found[StudentCard]] = field(default_factory=list)
    builds: list[Found[BuildCard]] = field(default_factory=list)
    evaluations: list[Found[Evaluation]] = field(default_factory=list)
    latency: list[Found[LatencyRun]] = field(default_factory=list)
    photos: list[Found[PhotoRun]] = field(default_factory=list)
    single_photos: list[Found[Photo]] = field(default_factory=list)
    profiles: list[Found[Profiles]] = field(default_factory=list)
    prompts: list[Found[Prompts]] = field(default_factory=list)
    searches: list[Found[Search]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def read_results(results: Path, weights: Path) -> Results:
    """Read all results and the cards of the weights.

    Args:
        results: folder with JSON files, at any depth.
        weights: folder with ``<student>.json`` cards; may be missing.

    Returns:
        What was found. Damaged or unknown files are lines in ``problems``, never an exception.

    Raises:
        UserError: there is no folder of results.
    """
    if not results.is_dir():
        raise UserError(f"there is no folder {results}: give --results a folder of JSON results")
    found = Results()
    for path in sorted(weights.glob("*.json")):
        _read(path, f"weights/{path.name}", found, card=True)
    for path in sorted(results.rglob("*.json")):
        _read(path, path.relative_to(results).as_posix(), found)
    return found


def _read(path: Path, name: str, found: Results, card: bool = False) -> None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if card:
            _add(found.students, name, value, StudentCard)
        else:
            _sort(name, value, found)
    except OSError as error:
        found.problems.append(f"{name} cannot be read: {error.strerror}")
    except ValidationError as error:
        found.problems.append(f"{name} is damaged or of another version: {_first(error)}")
    except UserError as error:
        found.problems.append(str(error))
    except ValueError as error:  # not UTF-8, or not JSON
        found.problems.append(f"{name} is no JSON: {str(error).splitlines()[0]}")
    else:
        found.files.append(name)


def _sort(name: str, value: Any, found: Results) -> None:
    """Put one parsed file where it belongs."""
    if isinstance(value, list) and value and all(_has(v, "gates", "recipe") for v in value):
        for card in value:
            _add(found.builds, name, card, BuildCard)
        return
    for kind, keys, add in _KINDS:
        if _has(value, *keys) and kind in (None, value.get("kind")):
            add(name, value, found)
            return
    told = sorted(value)[:4] if isinstance(value, dict) else type(value).__name__
    raise UserError(f"{name} is no result that this report knows (it holds {told})")


def _add(into: list[Found[M]], name: str, value: Any, table: type[M]) -> None:
    into.append(Found(name, table.model_validate_json(json.dumps(value))))


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(key in value for key in keys)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


# The "kind" that a file tells, keys that it must have at least, and where it belongs.
_KINDS: tuple[tuple[str | None, tuple[str, ...], Callable[[str, Any, Results], None]], ...] = (
    ("latency", ("rows",), lambda n, v, r: _add(r.latency, n, v, LatencyRun)),
    ("photos", ("rows",), lambda n, v, r: _add(r.photos, n, v, PhotoRun)),
    ("cpl_edge.profile", ("profiles",), lambda n, v, r: _add(r.profiles, n, v, Profiles)),
    (None, ("prompts", "sites"), lambda n, v, r: _add(r.prompts, n, v, Prompts)),
    (None, ("about_candidates", "runs"), lambda n, v, r: _add(r.searches, n, v, Search)),
    (None, ("suite", "summary"), lambda n, v, r: _add(r.evaluations, n, v, Evaluation)),
    (None, ("tiles", "total_seconds"), lambda n, v, r: _add(r.single_photos, n, v, Photo)),
)
