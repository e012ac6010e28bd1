"""Is a dataset complete? What is missing, and where should it lie?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cpl_edge.data.images import is_image
from cpl_edge.data.layouts import Layout, Source
from cpl_edge.data.pairing import PAIRINGS, Found, find
from cpl_edge.errors import UserError

_SHOWN = 5  # names of each kind in a message; --json holds all of them


def list_folders(root: Path, patterns: Sequence[str]) -> dict[str, list[str]]:
    """List the image files of some folders, without their subfolders.

    Args:
        root: the dataset.
        patterns: folders relative to it, possibly with ``*``.

    Returns:
        Sorted names relative to the dataset, by folder. Hidden files are left out.

    Raises:
        UserError: there is no such dataset.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    folders = {
        folder.relative_to(root).as_posix(): sorted(
            path.relative_to(root).as_posix()
            for path in folder.iterdir()
            if is_image(path) and not path.name.startswith(".")
        )
        for pattern in dict.fromkeys(patterns)
        for folder in root.glob(pattern)
        if folder.is_dir()
    }
    return {folder: names for folder, names in folders.items() if names}


def check(layout: Layout, root: Path) -> list[Found]:
    """Look for every source of a layout.

    Raises:
        UserError: there is no such folder.
    """
    patterns = [pattern for source in layout.sources for pattern in source.folders]
    folders = list_folders(root, patterns)
    return [find(source, folders) for source in layout.sources]


def problems(found: Found, root: Path) -> Iterator[str]:
    """What must be mended in a source, a line each, with the place where it should lie."""
    for folder in found.empty:
        yield f"no images in {root / folder}{_other_case(root, folder)}"
    missing = [f"{clean}.* for {degraded}" for degraded, clean in found.unpaired]
    if missing:
        yield f"{len(missing)} clean images missing: {_some(missing)}"
    if found.lost:
        yield f"{len(found.lost)} degraded images missing, those of {_some(found.lost)}"
    if found.unreadable:
        example = PAIRINGS[found.source.pairing].example
        wanted = f"are not named like {example}" if example else "are not Unicode"
        names = [ascii(name)[1:-1] for name in found.unreadable]
        yield f"{len(names)} names {wanted}: {_some(names)}"


def remarks(found: Found) -> Iterator[str]:
    """What is worth knowing of a source, but no fault."""
    published = found.source.published
    if found.items and published and len(found.items) != published:
        yield f"{len(found.items)} images where the authors had {published}"
    if found.unused and not found.lost:
        yield f"{len(found.unused)} clean images have no degraded one"


def print_report(layout: Layout, root: Path, found: Sequence[Found], console: Console) -> None:
    """Print a table of the sources, then a line for each problem and remark."""
    table = Table("split", "task", title=f"{layout.name} in {root}")
    table.add_column("folder", overflow="fold")
    for heading in ("images", "published", "repeats"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in found:
        source = one.source
        counts = (len(one.items), source.published or "?", source.repeats)
        state = "ok" if one.complete else "incomplete"
        table.add_row(source.split, source.task, _place(source), *map(str, counts), state)
    console.print(table, markup=False)
    for one in found:
        lines = [*problems(one, root), *(f"remark: {line}" for line in remarks(one))]
        for line in lines:
            text = f"{one.source.split} {one.source.task} ({_place(one.source)}): {line}"
            console.print(text, markup=False, soft_wrap=True, highlight=False)


def to_json(layout: Layout, found: Sequence[Found]) -> dict[str, Any]:
    """The whole report for machines, names and all."""
    return {
        "layout": layout.name,
        "complete": all(one.complete for one in found),
        "samples": sum(
            item.repeats for one in found if one.source.split == "train" for item in one.items
        ),
        "sources": [
            {
                "split": one.source.split,
                "task": one.source.task,
                "folders": list(one.source.folders),
                "images": len(one.items),
                "published": one.source.published,
                "repeats": one.source.repeats,
                "complete": one.complete,
                "empty": list(one.empty),
                "unpaired": [{"degraded": d, "clean": c} for d, c in one.unpaired],
                "unreadable": list(one.unreadable),
                "unused": list(one.unused),
            }
            for one in found
        ],
    }


def _place(source: Source) -> str:
    return source.folders[0]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _other_case(root: Path, folder: str) -> str:
    """A hint, where a folder is only written in other capitals."""
    here = root
    for part in folder.split("/"):
        if not (here / part).is_dir() and here.is_dir() and "*" not in part:
            near = [p.name for p in here.iterdir() if p.name.lower() == part.lower()]
            return f" (there is {here / near[0]}: capitals matter)" if near else ""
        here /= part
    return ""
