"""Which model files are measured, and what is known of them without running them."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.runtimes import find_model, open_runtime
from cpl_edge.runtimes.protocol import SUFFIXES
from cpl_edge.shipped import shipped_folder, shipped_names

CARD = "card.json"
CARD_PIXELS = 256 * 256
"""Size of image that a student's card counts MACs for."""


@dataclass(frozen=True)
class Build:
    """One model file of this product.

    Attributes:
        name: of its folder, or of the given file.
        path: the model file.
        where: its path as results show it, below the folder of builds.
        info: what its card says of the file; empty without a card.
        refused: why it is not measured, or None.
    """

    name: str
    path: Path
    where: str
    info: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None


def find_builds(folder: Path | None, files: Sequence[str]) -> list[Build]:
    """Every build of a folder, then the given files.

    Args:
        folder: holds a folder with a card for each build; None for none.
        files: model files, build folders or names of shipped students.

    Returns:
        The builds by name; those whose gates refused them, or whose card is damaged, say so.

    Raises:
        UserError: there are none, or a given file is missing or damaged.
    """
    found = [] if folder is None else [_of_card(card) for card in sorted(folder.glob(f"*/{CARD}"))]
    given: list[Build] = []
    for file in files:
        path = find_model(file)
        open_runtime(path).close()  # what is wrong with it is told here, in one line
        if all(path.resolve() != build.path.resolve() for build in [*found, *given]):
            name = _unique(path, [*found, *given])
            given.append(Build(name, path, path.name, refused=_not_timed_here(path)))
    if not found and not given:
        raise UserError(
            f"{folder or 'the command'} holds no builds: make some with python -m cpl_edge.export "
            "--target all, or give model files"
        )
    return [*found, *given]


def student_facts(digest: str, beside: Path | None = None) -> tuple[int | None, int | None]:
    """Parameters of a student, and its MACs at 256x256, from the card of its weights.

    Args:
        digest: sha256 of the weights.
        beside: a model file that may have the card beside it, as ``.json``.

    Returns:
        Both, or None where no card has this digest.
    """
    weights = shipped_folder("weights")
    cards = [weights / f"{name}.json" for name in shipped_names("weights", ".json")]
    if beside is not None:
        cards.append(beside.with_suffix(".json"))
    for path in cards:
        card = _read_json(path)
        if card.get("digest") == digest:
            return card.get("parameters"), card.get("macs_256x256")
    return None, None


def file_size(path: Path) -> int:
    """Bytes of a model file, or of all files of a model folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _of_card(card_path: Path) -> Build:
    folder = card_path.parent
    card = _read_json(card_path)
    info = card.get("info")
    path = folder / str(card.get("model", ""))
    if not isinstance(info, dict) or path.suffix not in SUFFIXES or not path.exists():
        models = [p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES] or [card_path]
        return Build(
            folder.name,
            models[0],
            f"{folder.name}/{models[0].name}",
            refused="its card is damaged or its model file is missing: export it again",
        )
    missed = card.get("refused")
    reason = f"it missed its gates: {', '.join(missed)}" if missed else _not_timed_here(path)
    return Build(folder.name, path, f"{folder.name}/{path.name}", info, reason)


def _not_timed_here(path: Path) -> str | None:
    """Core ML off a Mac can be evaluated for its values at most, which says nothing of time."""
    if path.suffix == ".mlpackage" and platform.system() != "Darwin":
        return "Core ML runs on macOS only: nothing that runs it here tells its time"
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _unique(path: Path, others: list[Build]) -> str:
    """The file's name, with folders before it as long as another build has the same."""
    names = {build.name for build in others}
    parts = path.resolve().parts
    for count in range(1, len(parts)):
        if (name := "/".join(parts[-count:])) not in names:
            return name
    return str(path)
