"""TOML files that a user edits, checked by pydantic; a mistake is answered with the right word."""

from __future__ import annotations

import difflib
import inspect
import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cpl_edge.errors import UserError
from cpl_edge.shipped import shipped, shipped_names


class Table(BaseModel):
    """Base of every table of a recipe or suite.

    No unknown keys, no text for a number, no infinity, no change after reading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


T = TypeVar("T", bound=Table)


def read_toml(name_or_path: str, table: type[T], kind: str, word: str = "recipe") -> T:
    """Read a shipped file by name, or a TOML file of the user.

    Args:
        name_or_path: name of a file that ships (``"student-s"``), or a path that ends in ``.toml``.
        table: what the file must hold.
        kind: top-level folder of the shipped files, e.g. ``"train"``.
        word: what to call such a file in messages.

    Raises:
        UserError: no such file, not TOML, or a key or value that is not allowed.
    """
    path = _find(name_or_path, kind, word)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        # As JSON, because there an array may be a tuple even when types are strict.
        return table.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, table)}") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a wrong word: the nearest right one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"


def _find(name_or_path: str, kind: str, word: str) -> Path:
    names = shipped_names(kind, ".toml")
    if name_or_path in names:
        return shipped(kind, f"{name_or_path}.toml")
    if not name_or_path.endswith(".toml"):
        raise UserError(f"no {word} {name_or_path!r}: {nearest(name_or_path, names)}")
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; the {word}s that ship are {', '.join(names)}")
    return path


def explain(error: ValidationError, table: type[Table]) -> str:
    """One mistake in one line: a wrong key before what its absence causes."""
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    tables, place = _tables_at(table, first["loc"])
    if first["type"] != "extra_forbidden":
        message = first["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    known = dict.fromkeys(key for t in tables for key in t.model_fields)
    return f"unknown key {place!r}: {nearest(str(first['loc'][-1]), known)}"


def _tables_at(
    table: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[type[BaseModel]], str]:
    """The tables that a mistake can lie in, and its place as the user wrote it.

    Pydantic's location also names the member of a union (``degradations.0.gaussian.sigm``), which
    stands nowhere in the file as a key.
    """
    tables: list[type[BaseModel]] = [table]
    words = []
    for index, part in enumerate(location):
        fields = [t.model_fields[part] for t in tables if part in t.model_fields]
        nested = [m for field in fields for m in _models(field.annotation)]
        tagged = [t for t in tables if part in _literals(t)] if not fields else []
        if not tagged:
            words.append(str(part))
        if index < len(location) - 1:
            tables = nested or tagged or tables
    return tables, ".".join(words)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models inside a type such as ``list[A | B]`` or ``dict[str, A]``."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _literals(table: type[BaseModel]) -> set[Any]:
    """Values of the fields that take one fixed value, as the tag of a union does."""
    values = (get_args(field.annotation) for field in table.model_fields.values())
    return {value[0] for value in values if len(value) == 1 and isinstance(value[0], str)}
