"""Which file belongs to which, told by names alone.

No file is opened: the same code serves a dataset's folder and a bank that was packed from it
(:mod:`cpl_edge.data.bank`), which keeps the names. All names are relative to the dataset, with
forward slashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from cpl_edge.data.layouts import Layout, Source
from cpl_edge.errors import UserError

Folders = Mapping[str, list[str]]
"""Sorted names of image files, by folder."""


@dataclass(frozen=True)
class Pairing:
    """How the name of a degraded file leads to its clean one; equal names always pair as well.

    Attributes:
        rules: patterns of a degraded file's name without suffix, and the clean name that each
            gives; none for equal names.
        example: a degraded file's name, for messages.
        many: several degraded images share a clean one, and a clean one may be unused.
    """

    rules: tuple[tuple[str, str], ...] = ()
    example: str = ""
    many: bool = False

    def clean_name(self, stem: str) -> str | None:
        """The clean image's name without suffix, or None where no rule fits."""
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, stem):
                return re.sub(pattern, replacement, stem)
        return None if self.rules else stem


PAIRINGS = {
    "same": Pairing(),
    "rain": Pairing(((r"rain-(\w+)", r"norain-\1"),), "rain-12.png"),
    # RESIDE: scene, light A and scattering beta; 35 hazy images of a scene.
    "haze": Pairing(((r"([^_]+)_[\d.]+_[\d.]+", r"\1"),), "0025_0.8_0.04.jpg", many=True),
    # Outdoor-Rain: 15 degraded images of a scene; RainDrop: 0_rain and 0_clean; Snow100K: equal.
    "weather": Pairing(
        ((r"(.+)_s\d+_a\d+", r"\1"), (r"(.+)_rain", r"\1_clean"), (r"(.+)", r"\1")), many=True
    ),
}


@dataclass(frozen=True)
class Item:
    """One image to train on or to test with.

    Attributes:
        task: what the router should select.
        clean: name of the clean image.
        degraded: name of the degraded image, or empty where ``synthesis`` makes it.
        synthesis: see :class:`cpl_edge.data.layouts.Source`.
        repeats: how often the image counts in an epoch.
    """

    task: str
    clean: str
    degraded: str = ""
    synthesis: str = ""
    repeats: int = 1


@dataclass(frozen=True)
class Found:
    """What there is of a source.

    Attributes:
        source: what was looked for.
        items: what can be used.
        empty: folders that hold no image, or do not exist.
        unpaired: degraded images, each with its missing clean one (without suffix).
        unreadable: images whose names fit no rule of the source's pairing, or are not Unicode.
        unused: clean images without a degraded one.
    """

    source: Source
    items: tuple[Item, ...] = ()
    empty: tuple[str, ...] = ()
    unpaired: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """Clean images whose degraded one is missing, where each must have one."""
        return () if PAIRINGS[self.source.pairing].many else self.unused

    @property
    def complete(self) -> bool:
        """Whether nothing is missing; fewer images than the authors had is not a fault."""
        return not (self.empty or self.unpaired or self.unreadable or self.lost)


def by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names into their folders."""
    folders: dict[str, list[str]] = {}
    for name in sorted(names):
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    return folders


def find(source: Source, folders: Folders) -> Found:
    """Pair the names of a source.

    Args:
        source: what to look for.
        folders: see :data:`Folders`; folders of other sources do no harm.

    Returns:
        The items, and everything that does not fit.
    """
    every = {pattern: _names(folders, pattern) for pattern in source.folders}
    empty = tuple(pattern for pattern, names in every.items() if not names)
    if empty:
        return Found(source, empty=empty)
    unreadable = [name for names in every.values() for name in names if not _is_unicode(name)]
    clean = list(filter(_is_unicode, every[source.clean]))
    degraded = list(filter(_is_unicode, every[source.degraded])) if source.degraded else []

    def item(clean_name: str, degraded_name: str = "") -> Item:
        return Item(source.task, clean_name, degraded_name, source.synthesis, source.repeats)

    if not source.degraded:
        return Found(source, tuple(map(item, clean)), unreadable=tuple(unreadable))
    by_stem: dict[str, list[str]] = {}
    for name in clean:
        by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
    items: list[Item] = []
    unpaired: list[tuple[str, str]] = []
    for name in degraded:
        path = PurePosixPath(name)
        stem = PAIRINGS[source.pairing].clean_name(path.stem)
        partners = by_stem.get(stem or "") or by_stem.get(path.stem)
        if partners:  # of a PNG and a JPEG, the one of the same kind
            same = [partner for partner in partners if partner.endswith(path.suffix)]
            items.append(item((same or partners)[0], name))
        elif stem is None:
            unreadable.append(name)
        else:
            unpaired.append((name, f"{source.clean}/{stem}"))
    used = {item.clean for item in items}
    unused = tuple(name for name in clean if name not in used)
    return Found(source, tuple(items), (), tuple(unpaired), tuple(unreadable), unused)


def training_items(layout: Layout, names: Iterable[str]) -> list[Item]:
    """Everything that a layout trains on.

    Args:
        layout: which sources to take.
        names: image files of a dataset or of a bank.

    Raises:
        UserError: a task has no image at all.
    """
    folders = by_folder(names)
    items: list[Item] = []
    for source in layout.split("train"):
        found = find(source, folders).items
        if not found:
            wanted = " and ".join(source.folders)
            raise UserError(f"no images for {source.task} of {layout.name}: they lie in {wanted}")
        items += found
    return items


def _names(folders: Folders, pattern: str) -> list[str]:
    """Names in the folders that a pattern means; ``*`` stands for part of one folder's name."""
    parts = pattern.split("/")
    fitting = [
        folder
        for folder in sorted(folders)
        if folder.count("/") == len(parts) - 1 and all(map(fnmatchcase, folder.split("/"), parts))
    ]
    return [name for folder in fitting for name in folders[folder]]


def _is_unicode(name: str) -> bool:
    """Whether a name can be written down: a file system may hold bytes of any encoding."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
