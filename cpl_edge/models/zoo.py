"""Students by name: presets, and shipped weights beside their cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cpl_edge.errors import UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.shipped import shipped

STUDENTS: dict[str, StudentConfig] = {
    "nano": StudentConfig(widths=(16, 32)),
    "s": StudentConfig(widths=(32, 64)),
    "m": StudentConfig(widths=(48, 96), blocks=(3, 3, 3)),
}
"""Presets: about 0.6, 2 and 6.5 GMAC at 256x256."""


def create_student(name: str, seed: int = 0, shape: Mapping[str, Any] | None = None) -> Student:
    """A student with random weights.

    Args:
        name: one of :data:`STUDENTS`.
        seed: of the random initialisation; the global generator is left as it was.
        shape: settings of :class:`~cpl_edge.models.student.StudentConfig` instead of the preset's.

    Raises:
        UserError: there is no such student, or it cannot have that shape.
    """
    if name not in STUDENTS:
        raise UserError(f"no student {name!r}; there are {', '.join(STUDENTS)}")
    try:
        config = replace(STUDENTS[name], **(shape or {}))
    except ValueError as error:
        raise UserError(f"no student {name} of this shape: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(config)


def save_student(student: Student, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights as safetensors, with the configuration in the file's metadata.

    Args:
        student: any.
        path: written whole or not at all.
        metadata: further entries.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    state = {
        name: value.detach().cpu().contiguous() for name, value in student.state_dict().items()
    }
    entries = {**(metadata or {}), "cpl_edge_student": json.dumps(student.config.to_dict())}
    temporary.write_bytes(save(state, entries))  # save_file would hide the file from other users
    temporary.replace(path)


def load_student(name_or_path: str | Path) -> Student:
    """A trained student in evaluation mode.

    Args:
        name_or_path: a shipped student's name (``"s"``) or a ``.safetensors`` file that
            :func:`save_student` wrote.

    Raises:
        UserError: no such name or file, or the file does not hold a student.
    """
    path = student_path(name_or_path)
    try:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get("cpl_edge_student")
        if text is None:
            raise UserError(f"{path} holds no student: its metadata lacks 'cpl_edge_student'")
        student = Student(StudentConfig.from_dict(json.loads(text)))
        student.load_state_dict(load_file(path))
    except UserError:
        raise
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a student's weights: {str(error).splitlines()[0]}"
        ) from error
    return student.eval()


def load_shared(name_or_path: str | Path) -> Student:
    """A trained student of which all degradations share all convolutions.

    Args:
        name_or_path: as of :func:`load_student`.

    Raises:
        UserError: see :func:`load_student`; or degradations have convolutions of their own.
    """
    student = load_student(name_or_path)
    if parts := student.config.owned_parts:
        raise UserError(
            f"{name_or_path} is a network for each degradation ({', '.join(parts)}), "
            "and this takes one: give a student without parts of their own, or export this one, "
            "which quantises each of them"
        )
    return student


def student_path(name_or_path: str | Path) -> Path:
    """The weights file of a shipped student's name, or the given file itself."""
    text = str(name_or_path)
    if not text.endswith(".safetensors"):
        return shipped("weights", f"{text}.safetensors")
    path = Path(text)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    return path
