"""The folders of the published datasets, and which file belongs to which.

A layout is a list of sources; a source is one task in one folder, either pairs of a degraded and a
clean image or clean images that are degraded on the fly. Everything here works on names alone, so
that it serves a folder and a packed bank (:mod:`cpl_edge.data.bank`) alike; docs/datasets.md shows
the layouts as a table.

Folders and counts are those of the authors' instructions. ``repeats`` says how often an image
counts in an epoch: 3 tasks as in PromptIR (Potlapalli et al. 2023), whose epoch has 142,431
samples; deblurring and low light as in AdaIR (Cui et al. 2025), which trains PromptIR's five tasks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from cpl_edge.errors import UserError

Folders = Mapping[str, list[str]]
"""Names of image files by folder; folders are relative to the dataset, with forward slashes."""


@dataclass(frozen=True)
class Pairing:
    """How a degraded file's name leads to its clean one; equal names always pair as well.

    Attributes:
        rules: patterns of a degraded file's name without suffix, and the clean name they give.
        example: a degraded file's name, for messages.
        many: several degraded images share a clean one, and some clean ones may be unused.
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
    "haze": Pairing(((r"([^_]+)_[\d.]+_[\d.]+", r"\1"),), "0025_0.8_0.04.jpg", many=True),
    # Outdoor-Rain has 15 degraded images for a clean one, RainDrop calls both after the scene.
    "weather": Pairing(
        ((r"(.+)_s\d+_a\d+", r"\1"), (r"(.+)_rain", r"\1_clean"), (r"(.+)", r"\1")), many=True
    ),
}


@dataclass(frozen=True)
class Source:
    """One task in one folder.

    Attributes:
        task: what the router should select; several degradations are joined by ``+``.
        split: ``train`` or ``test``.
        clean: folder of clean images, relative to the dataset.
        degraded: folder of degraded images, possibly with ``*``; empty where they are synthesised.
        pairing: key of :data:`PAIRINGS`.
        synthesis: what makes the degraded image: a degradation of
            :mod:`cpl_edge.data.degradations`, or one of :mod:`cpl_edge.data.mio`.
        repeats: how often each image counts in an epoch.
        published: number of degraded images (clean ones for a synthesis) that the authors had.
    """

    task: str
    split: str
    clean: str
    degraded: str = ""
    pairing: str = "same"
    synthesis: str = ""
    repeats: int = 1
    published: int = 0

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders to read, the degraded one first."""
        return (self.degraded, self.clean) if self.degraded else (self.clean,)


@dataclass(frozen=True)
class Layout:
    """The folders of one published training and its tests."""

    name: str
    about: str
    sources: tuple[Source, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The training tasks, in the order of the sources."""
        return tuple(dict.fromkeys(s.task for s in self.sources if s.split == "train"))


@dataclass(frozen=True)
class Item:
    """One image to train on or to test with; names are relative to the dataset.

    Attributes:
        task: what the router should select.
        clean: the clean image.
        degraded: the degraded image, or empty where ``synthesis`` makes it.
        synthesis: see :class:`Source`.
        repeats: how often it counts in an epoch.
    """

    task: str
    clean: str
    degraded: str = ""
    synthesis: str = ""
    repeats: int = 1


@dataclass(frozen=True)
class Found:
    """What :func:`find` found for a source; names are relative to the dataset.

    Attributes:
        source: what was looked for.
        items: what can be used.
        empty: folders that hold no image.
        unpaired: degraded images, and the clean ones (without suffix) that are missing.
        unreadable: images whose names do not fit the source's pairing, or are not Unicode.
        unused: clean images without a degraded one.
    """

    source: Source
    items: tuple[Item, ...] = ()
    empty: tuple[str, ...] = ()
    unpaired: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is missing; a test on the number of images is up to the caller."""
        lost = self.unused and not PAIRINGS[self.source.pairing].many
        return not (self.empty or self.unpaired or self.unreadable or lost)


def by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names into their folders."""
    folders: dict[str, list[str]] = {}
    for name in sorted(names):
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    return folders


def _names(folders: Folders, pattern: str) -> list[str]:
    parts = pattern.split("/")
    fitting = (
        folder
        for folder in sorted(folders)
        if len(folder.split("/")) == len(parts) and all(map(fnmatchcase, folder.split("/"), parts))
    )
    return [name for folder in fitting for name in folders[folder]]


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding, as a file system may hold
        return False
    return True


def find(source: Source, folders: Folders) -> Found:
    """Pair the names of a source.

    Args:
        source: what to look for.
        folders: names of image files by folder; others than the source's do not matter.

    Returns:
        The items, and everything that does not fit.
    """
    every = {folder: _names(folders, folder) for folder in source.folders}
    empty = tuple(folder for folder, names in every.items() if not names)
    if empty:
        return Found(source, empty=empty)
    unreadable = [n for names in every.values() for n in names if not _is_unicode(n)]
    clean = [name for name in every[source.clean] if _is_unicode(name)]
    common = {"synthesis": source.synthesis, "repeats": source.repeats}
    if not source.degraded:
        made = tuple(Item(source.task, name, **common) for name in clean)  # type: ignore[arg-type]
        return Found(source, made, unreadable=tuple(unreadable))
    by_stem: dict[str, list[str]] = {}
    for name in clean:
        by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
    pairing = PAIRINGS[source.pairing]
    items, unpaired, used = [], [], set()
    for name in filter(_is_unicode, every[source.degraded]):
        path = PurePosixPath(name)
        stem = pairing.clean_name(path.stem)
        partners = by_stem.get(stem or "") or by_stem.get(path.stem)
        if partners:
            partner = next((p for p in partners if p.endswith(path.suffix)), partners[0])
            used.add(partner)
            items.append(Item(source.task, partner, name, **common))  # type: ignore[arg-type]
        elif stem is None:
            unreadable.append(name)
        else:
            unpaired.append((name, f"{source.clean}/{stem}"))
    unused = tuple(name for name in clean if name not in used)
    return Found(source, tuple(items), (), tuple(unpaired), tuple(unreadable), unused)


def training_items(layout: Layout, names: Iterable[str]) -> list[Item]:
    """Everything that a layout trains on.

    Args:
        layout: which sources to take.
        names: image files relative to the dataset, of a folder or of a bank.

    Raises:
        UserError: a task has no image at all.
    """
    folders = by_folder(names)
    found = [find(source, folders) for source in layout.sources if source.split == "train"]
    for task in layout.tasks:
        if not any(f.items for f in found if f.source.task == task):
            wanted = ", ".join(f for s in layout.sources if s.task == task for f in s.folders)
            raise UserError(f"no images for {task} of layout {layout.name}: they lie in {wanted}")
    return [item for f in found for item in f.items]


def find_layout(name: str) -> Layout:
    """A layout by its name.

    Raises:
        UserError: there is none, with the nearest right name.
    """
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, LAYOUTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(LAYOUTS)}"
        raise UserError(f"no layout {name!r}: {hint}")
    return LAYOUTS[name]


def _pairs(task: str, split: str, folder: str, subfolders: str, published: int) -> Source:
    degraded, clean = subfolders.split(",")
    return Source(task, split, f"{folder}/{clean}", f"{folder}/{degraded}", published=published)


_THREE = (
    # Three noise levels (sigma 15, 25, 50) with three repeats each; the synthesis draws the level.
    Source("noise", "train", "Train/Denoise", synthesis="noise", repeats=9, published=5144),
    Source(
        "rain", "train", "Train/Derain/gt", "Train/Derain/rainy", "rain", repeats=120, published=200
    ),
    Source(
        "haze",
        "train",
        "Train/Dehaze/original",
        "Train/Dehaze/synthetic/part*",
        "haze",
        published=72135,
    ),
    Source("noise", "test", "test/denoise/bsd68", synthesis="noise", published=68),
    Source("noise", "test", "test/denoise/urban100", synthesis="noise", published=100),
    Source(
        "rain",
        "test",
        "test/derain/Rain100L/target",
        "test/derain/Rain100L/input",
        "rain",
        published=100,
    ),
    Source("haze", "test", "test/dehaze/target", "test/dehaze/input", "haze", published=500),
)

_TWO_MORE = (
    Source("blur", "train", "Train/Deblur/sharp", "Train/Deblur/blur", repeats=5, published=2103),
    Source("lowlight", "train", "Train/Enhance/gt", "Train/Enhance/low", repeats=20, published=485),
    _pairs("blur", "test", "test/deblur/gopro", "input,target", 1111),
    _pairs("lowlight", "test", "test/enhance/lol", "input,target", 15),
)

_MIO_TASKS = ("sr", "blur", "noise", "jpeg", "rain", "haze", "lowlight")

_CDD = (
    "low haze rain snow low_haze low_rain low_snow haze_rain haze_snow low_haze_rain low_haze_snow"
).split()

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("3tasks", "noise, rain and haze (PromptIR, AirNet)", _THREE),
        Layout(
            "5tasks", "the three, deblurring and low light (AdaIR, PromptIR)", _THREE + _TWO_MORE
        ),
        Layout(
            "7tasks",
            "seven degradations synthesised from clean images (MiO100)",
            tuple(
                Source(task, split, folder, synthesis=f"mio-{task}", published=published)
                for split, folder, published in (
                    ("train", "train/DF2K", 3450),
                    ("test", "test/MiO100", 100),
                )
                for task in _MIO_TASKS
            ),
        ),
        Layout(
            "allweather",
            "snow, rain with haze, and rain drops (TransWeather)",
            (
                Source(
                    "weather",
                    "train",
                    "allweather/gt",
                    "allweather/input",
                    "weather",
                    published=18069,
                ),
                _pairs("snow", "test", "test/Snow100K-S", "synthetic,gt", 16611),
                _pairs("snow", "test", "test/Snow100K-L", "synthetic,gt", 16801),
                Source(
                    "rain+haze",
                    "test",
                    "test/Test1/gt",
                    "test/Test1/input",
                    "weather",
                    published=750,
                ),
                Source(
                    "raindrop",
                    "test",
                    "test/RainDrop/gt",
                    "test/RainDrop/input",
                    "weather",
                    published=58,
                ),
            ),
        ),
        Layout(
            "cdd11",
            "eleven single and composed degradations (OneRestore)",
            tuple(
                Source(
                    name.replace("low", "lowlight").replace("_", "+"),
                    split,
                    f"{split}/clear",
                    f"{split}/{name}",
                    published=published,
                )
                for split, published in (("train", 1183), ("test", 200))
                for name in _CDD
            ),
        ),
        Layout(
            "weatherbench",
            "real rain, haze and snow; give its train and its test folder one at a time",
            tuple(
                _pairs(task, "train", task, "input,target", 0) for task in ("rain", "haze", "snow")
            ),
        ),
    )
}
