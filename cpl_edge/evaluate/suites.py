"""Suites: which images, which degradations and which metrics, written as TOML.

A suite is a file below ``benchmarks/``, or any ``.toml`` file of the user. benchmarks/README.md
explains the keys; this module checks them, and :mod:`cpl_edge.evaluate.samples` reads the images.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cpl_edge.recipe import Table, read_toml
from cpl_edge.shipped import shipped_names

BUNDLED = "bundled"


class Gaussian(Table):
    """Noise by the exact protocol of the published figures (method section 6).

    Attributes:
        label: row heading, unique in the suite.
        sigma: standard deviation in units of 1/255.
    """

    kind: Literal["gaussian"]
    label: str
    sigma: float = Field(gt=0, le=255)

    @property
    def degradation(self) -> str:
        """What a router should select."""
        return "noise"


class Synthetic(Table):
    """A degradation of :mod:`cpl_edge.data.degradations`, its strength drawn for each image.

    Attributes:
        label: row heading, unique in the suite.
        degradation: name of a degradation, or several joined by ``+``.
    """

    kind: Literal["synthetic"]
    label: str
    degradation: str


class Pairs(Table):
    """Degraded images and their clean counterparts of the same name in two folders.

    Attributes:
        label: row heading, unique in the suite.
        degradation: what a router should select.
        input: folder of degraded images, below the data folder.
        target: folder of clean images, below the data folder.
    """

    kind: Literal["pairs"]
    label: str
    degradation: str
    input: str
    target: str


Degradation = Annotated[Gaussian | Synthetic | Pairs, Field(discriminator="kind")]


class Published(Table):
    """Figures of a paper to print beside ours.

    Attributes:
        method: name of the published method.
        psnr: decibels by the label of a degradation.
    """

    method: str
    psnr: dict[str, float]


class Suite(Table):
    """One suite.

    Attributes:
        name: unique name.
        about: one line for ``--list`` and above the table.
        holds: what the data folder must hold, for the message when it does not.
        images: folder of clean images below the data folder, or ``"bundled"`` for the photos
            inside scikit-image; pairs need none.
        degradations: what is done to the images, one or more.
        metrics: what is measured.
        crop_multiple: images are centre-cropped to a multiple of this many pixels.
        limit: take only the first images by name; 0 takes all.
        published: figures of papers.
    """

    name: str
    about: str
    holds: str = ""
    images: str = ""
    degradations: tuple[Degradation, ...] = Field(min_length=1)
    metrics: tuple[Literal["psnr", "ssim"], ...] = ("psnr", "ssim")
    crop_multiple: int = Field(default=16, ge=1)
    limit: int = Field(default=0, ge=0)
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        labels = [d.label for d in self.degradations]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"two degradations have the label {twice[0]!r}: make labels unique")
        if not self.images and any(d.kind != "pairs" for d in self.degradations):
            raise ValueError("images is missing: name a folder of clean images, or 'bundled'")
        if "psnr" not in self.metrics:
            raise ValueError("metrics must contain 'psnr': gains and worst images are by PSNR")
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
        names = [] if self.images in ("", BUNDLED) else [self.images]
        for degradation in self.degradations:
            if isinstance(degradation, Pairs):
                names += [degradation.input, degradation.target]
        return tuple(dict.fromkeys(names))


def suite_names() -> list[str]:
    """Names of the suites that come with the product."""
    return shipped_names("benchmarks", ".toml")


def load_suite(name_or_path: str) -> Suite:
    """Read a suite.

    Args:
        name_or_path: name of a shipped suite (``"cbsd68"``), or a file that ends in ``.toml``.

    Raises:
        UserError: no such suite or file, or a wrong key or value, with the nearest right one.
    """
    return read_toml(name_or_path, Suite, "benchmarks", "suite")
