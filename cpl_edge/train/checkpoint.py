"""Checkpoints that are whole or not there, and are read without unpickling code."""

from __future__ import annotations

import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from cpl_edge.errors import CplEdgeError, UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash leaves the old one or the new one, never half.

    Args:
        path: target file.
        state: tensors and plain values.

    Raises:
        CplEdgeError: the disk refused; the last good checkpoint is still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        kept = "; the last good one is kept" if path.exists() else ""
        raise CplEdgeError(f"cannot write the checkpoint {path}: {error}{kept}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of :func:`save_checkpoint` on the CPU.

    Raises:
        UserError: the file is not such a checkpoint.
    """
    if not zipfile.is_zipfile(path):  # what torch.save writes; torch.load would also take a pickle
        raise UserError(f"{path} is not a checkpoint: it is missing, cut off or of another kind")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, OSError,
            RuntimeError, TypeError, ValueError) as error:  # fmt: skip  # all seen on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a checkpoint: {reason}") from None
    if not isinstance(state, dict) or "step" not in state:
        raise UserError(f"{path} is not a checkpoint of this trainer")
    return state
