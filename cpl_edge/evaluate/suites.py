"""Suites: which images, which degradations, which metrics and conventions, written as TOML.

A suite is a file below ``benchmarks/``, or any ``.toml`` file of the user. benchmarks/README.md
explains the keys, docs/evaluation.md the conventions of the papers; this module checks them, and
:mod:`cpl_edge.evaluate.samples` reads the images.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cpl_edge.data.layouts import find_layout
from cpl_edge.data.pairing import PAIRINGS
from cpl_edge.evaluate.metrics import SSIM_WINDOW, Window
from cpl_edge.recipe import Table, nearest, read_toml
from cpl_edge.shipped import shipped_names

BUNDLED = "bundled"


class Made(Table):
    """What all degradations that are made from clean images share.

    Attributes:
        label: row heading, unique in the suite.
        images: folder of clean images, where it is not the suite's.
        exposure: the clean image is multiplied by this first, which makes a dark scene.
        jpeg: quality of the JPEG file (4:2:0) that the degraded image is saved as; 0 for none.
    """

    label: str
    images: str = ""
    exposure: float = Field(default=1, gt=0, le=1)
    jpeg: int = Field(default=0, ge=0, le=100)

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of its own below the data folder."""
        return (self.images,) if self.images else ()


class Gaussian(Made):
    """Noise by the exact protocol of the published figures (method section 6).

    Attributes:
        sigma: standard deviation in units of 1/255.
    """

    kind: Literal["gaussian"]
    sigma: float = Field(gt=0, le=255)

    @property
    def degradation(self) -> str:
        """What a router should select."""
        return "noise"


class Synthetic(Made):
    """A degradation of :mod:`cpl_edge.data`, its strength drawn for each image.

    Attributes:
        degradation: one of :data:`cpl_edge.data.degradations.KINDS`, or several joined by ``+``;
            or one of :data:`cpl_edge.data.mio.MIO`.
    """

    kind: Literal["synthetic"]
    degradation: str


class Clean(Made):
    """Nothing is wrong with the image: what a model changes in it is harm.

    ``exposure`` and ``jpeg`` make another image that nothing is wrong with.
    """

    kind: Literal["clean"]

    @property
    def degradation(self) -> str:
        """No prompt is meant for it."""
        return "clean"


class Pairs(Table):
    """Degraded images and their clean counterparts in two folders.

    Attributes:
        label: row heading, unique in the suite.
        degradation: what a router should select.
        input: folder of degraded images, below the data folder.
        target: folder of clean images, below the data folder.
        pairing: how names lead from one to the other: a key of
            :data:`cpl_edge.data.pairing.PAIRINGS`, e.g. ``"same"``.
    """

    kind: Literal["pairs"]
    label: str
    degradation: str
    input: str
    target: str
    pairing: str = "same"

    @field_validator("pairing")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PAIRINGS:
            raise ValueError(f"no pairing {value!r}: {nearest(value, PAIRINGS)}")
        return value

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of its own below the data folder."""
        return (self.input, self.target)


Degradation = Annotated[Gaussian | Synthetic | Clean | Pairs, Field(discriminator="kind")]


class Published(Table):
    """Figures of a paper to print beside ours.

    Attributes:
        method: name of the published method.
        psnr: decibels by the label of a degradation.
        average: the paper's mean over all labels, where it gives one.
    """

    method: str
    psnr: dict[str, float] = Field(default_factory=dict)
    average: float | None = None


class Suite(Table):
    """One suite.

    Attributes:
        name: unique name.
        about: one line for ``--list`` and above the table.
        holds: what the data folder must hold, for the message when it does not.
        layout: the published dataset (:mod:`cpl_edge.data.layouts`) whose folders these are; parts
            of it that are not there are left out.
        images: folder of clean images below the data folder, or ``"bundled"`` for the photos
            inside scikit-image; pairs need none.
        fallback: take the bundled photos where no data folder was named.
        degradations: what is done to the images, one or more.
        metrics: what is measured.
        crop_multiple: images are centre-cropped to a multiple of this many pixels.
        channels: ``"rgb"``, or ``"y"`` for :func:`cpl_edge.evaluate.metrics.luma` alone.
        border: pixels that are not measured, on every side.
        rounded: round the restored image to 8 bit first, as a saved file is.
        ssim_window: see :func:`cpl_edge.evaluate.metrics.ssim`.
        limit: take only the first images by name; 0 takes all.
        published: figures of papers.
        remark: what to bear in mind beside them.
    """

    name: str
    about: str
    holds: str = ""
    layout: str = ""
    images: str = ""
    fallback: bool = False
    degradations: tuple[Degradation, ...] = Field(min_length=1)
    metrics: tuple[Literal["psnr", "ssim"], ...] = ("psnr", "ssim")
    crop_multiple: int = Field(default=16, ge=1)
    channels: Literal["rgb", "y"] = "rgb"
    border: int = Field(default=0, ge=0)
    rounded: bool = False
    ssim_window: Window = "uniform"
    limit: int = Field(default=0, ge=0)
    published: tuple[Published, ...] = ()
    remark: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        labels = [d.label for d in self.degradations]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"two degradations have the label {twice[0]!r}: make labels unique")
        if not self.images and any(not d.folders for d in self.degradations):
            raise ValueError("images is missing: name a folder of clean images, or 'bundled'")
        if self.fallback and self.folders != (self.images,):
            raise ValueError("fallback takes the place of images alone: let nothing else be read")
        if "psnr" not in self.metrics:
            raise ValueError("metrics must contain 'psnr': gains and worst images are by PSNR")
        if self.layout:
            find_layout(self.layout)
        for published in self.published:
            if unknown := set(published.psnr) - set(labels):
                raise ValueError(
                    f"published figures of {published.method!r} for {sorted(unknown)[0]!r}, which "
                    f"is no label of this suite; labels are {', '.join(labels)}"
                )
        return self

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders below the data folder that the suite reads."""
        names = [name for d in self.degradations for name in self.folders_of(d)]
        return tuple(name for name in dict.fromkeys(names) if name != BUNDLED)

    def folders_of(self, degradation: Degradation) -> tuple[str, ...]:
        """Folders that one of its degradations reads; the suite's own, if it has none."""
        return degradation.folders or (self.images,)

    @property
    def smallest(self) -> int:
        """Pixels a side that an image must have so that it can be measured."""
        return SSIM_WINDOW[self.ssim_window] + 2 * self.border


def suite_names() -> list[str]:
    """Names of the suites that come with the product; lists of candidates lie beside them."""
    names = shipped_names("benchmarks", ".toml")
    return [name for name in names if not name.startswith("search-")]


def load_suite(name_or_path: str) -> Suite:
    """Read a suite.

    Args:
        name_or_path: name of a shipped suite (``"cbsd68"``), or a file that ends in ``.toml``.

    Raises:
        UserError: no such suite or file, or a wrong key or value, with the nearest right one.
    """
    return read_toml(name_or_path, Suite, "benchmarks", "suite")
