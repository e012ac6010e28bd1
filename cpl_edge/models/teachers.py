"""Teachers as files: safetensors, with the network's configuration in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIR, PromptIRConfig

KEY = "cpl_edge_teacher"


def save_teacher(config: PromptIRConfig, state: Mapping[str, Tensor], path: Path) -> None:
    """Write a teacher's weights; the file is whole or not there.

    Args:
        config: of the network.
        state: its `state_dict`.
        path: target file; folders above it are made.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(plain, {KEY: json.dumps(asdict(config))}))
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error}") from None


def is_teacher(path: Path) -> bool:
    """Whether a file is one that `save_teacher` wrote; False of a missing or damaged one."""
    try:
        with safe_open(path, framework="pt") as handle:
            return KEY in (handle.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_teacher(path: Path) -> PromptIR:
    """The network that `save_teacher` wrote, in evaluation mode.

    Raises:
        UserError: the file is missing, damaged or not a teacher's.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get(KEY)
        if text is None:
            raise UserError(f"{path} holds no teacher: its metadata lacks {KEY!r}")
        # JSON knows no tuples.
        config: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()
        }
        teacher = PromptIR(PromptIRConfig(**config))
        teacher.load_state_dict(load_file(path))
    except UserError:
        raise
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a teacher's weights: {reason}") from None
    return teacher.eval()
