"""Suites: which images, which degradations and which metrics, written as TOML.

A suite is a file below ``benchmarks/``, or any ``.toml`` file of the user. benchmarks/README.md
explains the keys; this module checks them, and :mod:`cpl_edge.evaluate.samples` reads the images.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from cpl_edge.errors import UserError
from cpl_edge.shipped import shipped, shipped_names

BUNDLED = "bundled"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gaussian(_Table):
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


class Synthetic(_Table):
    """A degradation of :mod:`cpl_edge.data.degradations`, its strength drawn for each image.

    Attributes:
        label: row heading, unique in the suite.
        degradation: name of a degradation, or several joined by ``+``.
    """

    kind: Literal["synthetic"]
    label: str
    degradation: str


class Pairs(_Table):
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


class Published(_Table):
    """Figures of a paper to print beside ours.

    Attributes:
        method: name of the published method.
        psnr: decibels by the label of a degradation.
    """

    method: str
    psnr: dict[str, float]


class Suite(_Table):
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


def _suite_path(name_or_path: str) -> Path:
    names = suite_names()
    if name_or_path in names:
        return shipped("benchmarks", f"{name_or_path}.toml")
    if not name_or_path.endswith(".toml"):
        near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
        raise UserError(f"no suite {name_or_path!r}: {hint}")
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; suites that need no file: {', '.join(names)}")
    return path


def load_suite(name_or_path: str) -> Suite:
    """Read a suite.

    Args:
        name_or_path: name of a shipped suite (``"cbsd68"``), or a file that ends in ``.toml``.

    Raises:
        UserError: no such suite or file, or a wrong key or value, with the nearest right one.
    """
    path = _suite_path(name_or_path)
    try:
        return Suite.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error.errors()[0])}") from error


_KINDS: dict[str, type[BaseModel]] = {
    "gaussian": Gaussian,
    "synthetic": Synthetic,
    "pairs": Pairs,
}
_TABLES: dict[str, type[BaseModel]] = {**_KINDS, "published": Published}


def _explain(error: ErrorDetails) -> str:
    """One line for one mistake in a TOML file, with the nearest key where a key is unknown."""
    where = ".".join(str(part) for part in error["loc"] if part not in _KINDS)
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']}" if where else error["msg"]
    tables = [_TABLES[part] for part in error["loc"] if isinstance(part, str) and part in _TABLES]
    known = (tables[0] if tables else Suite).model_fields
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"keys are {', '.join(known)}"
    return f"unknown key {where!r}: {hint}"
