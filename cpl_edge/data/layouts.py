"""The folders of the published datasets: which task lies where, and how often it is repeated.

A layout is a list of sources; a source is one task in one folder, either pairs of a degraded and a
clean image or clean images that are degraded on the fly. docs/datasets.md shows them as a table;
:mod:`cpl_edge.data.pairing` tells which file belongs to which.

Folders and counts are those of the authors' instructions. Repeats of noise, rain and haze are
PromptIR's (Potlapalli et al. 2023), whose epoch has 142,431 samples; those of deblurring and low
light are AdaIR's (Cui et al. 2025), which set the usual five tasks. The seven tasks have no
published folders: ``train/DF2K`` and ``test/MiO100`` are ours.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from cpl_edge.errors import UserError


@dataclass(frozen=True)
class Source:
    """One task in one folder.

    Attributes:
        task: what the router should select; several degradations are joined by ``+``.
        split: ``train`` or ``test``.
        clean: folder of clean images, relative to the dataset, with forward slashes.
        degraded: folder of degraded images, possibly with ``*``; empty where they are synthesised.
        published: number of degraded images (clean ones for a synthesis) that the authors had; 0
            where that is not known.
        pairing: key of :data:`cpl_edge.data.pairing.PAIRINGS`.
        repeats: how often each image counts in an epoch.
        synthesis: what makes the degraded image: a degradation of
            :mod:`cpl_edge.data.degradations`, or one of :mod:`cpl_edge.data.mio`.
    """

    task: str
    split: str
    clean: str
    degraded: str = ""
    published: int = 0
    pairing: str = "same"
    repeats: int = 1
    synthesis: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders to read, the degraded one first."""
        return (self.degraded, self.clean) if self.degraded else (self.clean,)


@dataclass(frozen=True)
class Layout:
    """The folders of one published training and of its tests."""

    name: str
    about: str
    sources: tuple[Source, ...]

    def split(self, name: str) -> tuple[Source, ...]:
        """The sources to ``train`` or to ``test`` with."""
        return tuple(source for source in self.sources if source.split == name)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The training tasks, in the order of the sources."""
        return tuple(dict.fromkeys(source.task for source in self.split("train")))


def _train(
    task: str, degraded: str, clean: str, published: int, pairing: str = "same", repeats: int = 1
) -> Source:
    return Source(task, "train", clean, degraded, published, pairing, repeats)


def _test(task: str, folder: str, published: int, pairing: str = "same") -> Source:
    return Source(task, "test", f"{folder}/target", f"{folder}/input", published, pairing)


_THREE = (
    # Sigma 15, 25 and 50 with three repeats each; the synthesis draws one of the three.
    Source("noise", "train", "Train/Denoise", published=5144, repeats=9, synthesis="noise"),
    _train("rain", "Train/Derain/rainy", "Train/Derain/gt", 200, "rain", 120),
    _train("haze", "Train/Dehaze/synthetic/part*", "Train/Dehaze/original", 72135, "haze"),
    Source("noise", "test", "test/denoise/bsd68", published=68, synthesis="noise"),
    Source("noise", "test", "test/denoise/urban100", published=100, synthesis="noise"),
    _test("rain", "test/derain/Rain100L", 100, "rain"),
    _test("haze", "test/dehaze", 500, "haze"),
)
_TWO_MORE = (
    _train("blur", "Train/Deblur/blur", "Train/Deblur/sharp", 2103, repeats=5),
    _train("lowlight", "Train/Enhance/low", "Train/Enhance/gt", 485, repeats=20),
    _test("blur", "test/deblur/gopro", 1111),
    _test("lowlight", "test/enhance/lol", 15),
)
_SEVEN = tuple(
    Source(task, split, f"{split}/{folder}", published=published, synthesis=f"mio-{task}")
    for split, folder, published in (("train", "DF2K", 3450), ("test", "MiO100", 100))
    for task in ("sr", "blur", "noise", "jpeg", "rain", "haze", "lowlight")
)


def _weather_test(task: str, folder: str, inputs: str, published: int) -> Source:
    pairing = "same" if task == "snow" else "weather"
    return Source(task, "test", f"{folder}/gt", f"{folder}/{inputs}", published, pairing)


_WEATHER = (
    # One folder mixes three kinds of weather; nothing but the names would tell them apart.
    _train("weather", "allweather/input", "allweather/gt", 18069, "weather"),
    _weather_test("snow", "test/Snow100K-S", "synthetic", 16611),
    _weather_test("snow", "test/Snow100K-L", "synthetic", 16801),
    _weather_test("rain+haze", "test/Test1", "input", 750),
    _weather_test("raindrop", "test/RainDrop", "input", 58),
)
_CDD = tuple(
    Source(
        folder.replace("low", "lowlight").replace("_", "+"),
        split,
        f"{split}/clear",
        f"{split}/{folder}",
        published,
    )
    for split, published in (("train", 1183), ("test", 200))
    for folder in (
        *("low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow"),
        *("haze_rain", "haze_snow", "low_haze_rain", "low_haze_snow"),
    )
)
_BENCH = tuple(
    _train(task, f"{task}/input", f"{task}/target", 0) for task in ("rain", "haze", "snow")
)

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("3tasks", "noise, rain and haze, as in PromptIR", _THREE),
        Layout(
            "5tasks", "the three, and deblurring and low light, as in AdaIR", _THREE + _TWO_MORE
        ),
        Layout("7tasks", "seven degradations made from clean images, as in MiO100", _SEVEN),
        Layout("allweather", "snow, rain with haze and rain drops, as in TransWeather", _WEATHER),
        Layout("cdd11", "eleven single and composed degradations, CDD-11", _CDD),
        Layout("weatherbench", "photographed rain, haze and snow, WeatherBench", _BENCH),
    )
}


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
