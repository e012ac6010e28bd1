"""Where the files that come with the product lie: recipes, suites and weights.

In a checkout they are the top-level folders beside the package, which a user edits; in an
installed wheel they are copies under ``cpl_edge/_shipped``.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from cpl_edge.errors import UserError

PACKAGE = Path(__file__).parent
KINDS = ("benchmarks", "benchmarks/latency", "export", "quantize", "train", "weights")


def shipped_folder(kind: str) -> Path:
    """Find the folder of one kind of shipped file; it may be missing if nothing of it ships.

    Args:
        kind: one of ``KINDS``.

    Returns:
        The folder, inside the package if this is an installed wheel, else beside it.
    """
    assert kind in KINDS, kind
    in_wheel = PACKAGE / "_shipped"
    return (in_wheel if in_wheel.is_dir() else PACKAGE.parent) / kind


def shipped_names(kind: str, suffix: str) -> list[str]:
    """List the shipped files of one kind.

    Args:
        kind: one of ``KINDS``.
        suffix: end of the file names, with its dot, e.g. ``".toml"``.

    Returns:
        The names without the suffix, sorted.
    """
    return sorted(
        path.name.removesuffix(suffix)
        for path in shipped_folder(kind).glob(f"*{suffix}")
        if path.is_file()
    )


def shipped(kind: str, name: str) -> Path:
    """Find one shipped file by its full name.

    Args:
        kind: one of ``KINDS``.
        name: file name with its suffix, e.g. ``"s.safetensors"``.

    Returns:
        The file's path.

    Raises:
        UserError: there is no such file; the message names the nearest ones.
    """
    names = [found for found in shipped_names(kind, suffix="") if found != "README.md"]
    if name in names:
        return shipped_folder(kind) / name
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"
    hint = hint if names else "this copy of the product has none"
    raise UserError(f"no file {name!r} among the shipped {kind}: {hint}")
