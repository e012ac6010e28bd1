"""Export recipes: which build to make, and the limits of its gates, as TOML.

A recipe is a file below ``export/``, one for each target, or any ``.toml`` file of the user.
export/README.md explains the keys; options of the command replace single values.
"""

from __future__ import annotations

import re
from typing import get_args

from pydantic import Field, model_validator

from cpl_edge.errors import UserError
from cpl_edge.quantize.recipe import QuantizeRecipe, read_quantize_recipe
from cpl_edge.recipe import Table, nearest, read_toml
from cpl_edge.runtimes.info import Routing
from cpl_edge.shipped import shipped_names

KIND = "export"
CONVERTED = {"coreml": ("fp32", "fp16")}
"""Target -> precisions that its converter makes without a recipe; elsewhere fp32 alone."""

DEFAULT_SIZE = (256, 256)


class Limits(Table):
    """What a build may differ from its student, all against the fp32 student on real crops.

    Attributes:
        max_abs: parity as the largest difference of any output; this or ``parity_db`` is needed.
        parity_db: parity as the smallest PSNR of a restored crop, in dB.
        residual_db: smallest PSNR of output minus input, its peak being the largest residual.
        drop_mean: largest mean loss of quality of any degradation, in dB.
        drop_worst: largest loss of quality of any crop, in dB.
        routing_agreement: smallest share of crops with the same selected degradation.
        outside: operators that the accelerator may leave out.
    """

    max_abs: float | None = Field(default=None, gt=0)
    parity_db: float | None = Field(default=None, gt=0)
    residual_db: float | None = Field(default=None, gt=0)
    drop_mean: float = Field(ge=0)
    drop_worst: float = Field(ge=0)
    routing_agreement: float = Field(ge=0, le=1)
    outside: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_parity(self) -> Limits:
        if self.max_abs is None and self.parity_db is None:
            raise ValueError("a limit of parity is missing: give max_abs or parity_db")
        return self


class ExportRecipe(Table):
    """One build.

    Attributes:
        target: a key of `cpl_edge.export.targets.TARGETS`.
        precision: one of `cpl_edge.quantize.support.PRECISIONS`.
        routing: ``auto``, ``split``, ``told`` or ``pinned``.
        degradation: what a told or pinned build is for.
        size: height and width of the images in pixels.
        seam: by how much a tile may differ from the photo restored at once, in levels of 255 and
            on the gates' crops; 0 for a halo as wide as convolutions reach.
        quantize: recipe of the precision, a shipped name or a ``.toml`` file; by default the one
            that ships for this target and precision.
        limits: precision -> limits of the gates.
    """

    target: str
    precision: str
    routing: Routing = "auto"
    degradation: str | None = None
    size: tuple[int, int] = DEFAULT_SIZE
    seam: float = Field(default=0.1, ge=0)
    quantize: str | None = None
    limits: dict[str, Limits]

    @property
    def quantization(self) -> QuantizeRecipe | None:
        """How the precision is made, or None where the converter itself makes it.

        Raises:
            UserError: see :func:`cpl_edge.quantize.recipe.read_quantize_recipe`, or the recipe is
                for something else.
        """
        name = self.quantize or f"{self.target}-{self.precision}"
        if self.quantize is None and self.precision in CONVERTED.get(self.target, ("fp32",)):
            return None
        recipe = read_quantize_recipe(name)
        if (recipe.target, recipe.precision) != (self.target, self.precision):
            raise UserError(
                f"{name} is for {recipe.target} {recipe.precision}, not for "
                f"{self.target} {self.precision}: add --precision {recipe.precision} or leave "
                "--quantize out"
            )
        return recipe

    @property
    def gate_limits(self) -> Limits:
        """Limits for the precision of this build."""
        if self.precision not in self.limits:
            raise UserError(
                f"the recipe has no limits for {self.precision}: add a table "
                f"[limits.{self.precision}]; it has {', '.join(self.limits)}"
            )
        return self.limits[self.precision]

    def build_name(self, student: str) -> str:
        """Name of the build's folder."""
        parts = [student, self.target, self.precision, self.routing]
        if self.degradation is not None:
            parts.append(str(self.degradation))
        if self.size != DEFAULT_SIZE:
            height, width = self.size
            parts.append(str(height) if height == width else f"{height}x{width}")
        return "-".join(parts)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``"256"`` or ``"240x320"`` as height and width.

    Raises:
        UserError: neither.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if match is None:
        raise UserError(f"size {text!r} is no size: give 256, or height x width as in 240x320")
    return int(match[1]), int(match[2] or match[1])


def read_recipes(
    target: str | None,
    recipe: str | None = None,
    *,
    precision: str | None = None,
    routing: str | None = None,
    degradation: str | None = None,
    size: str | None = None,
    quantize: str | None = None,
) -> list[ExportRecipe]:
    """The recipes that a command asks for: of one target, of all, or a file.

    Args:
        target: a target, or ``"all"``.
        recipe: a ``.toml`` file, or None for the target's own recipe.
        precision: instead of the recipe's, as the following ones.
        routing: ``auto``, ``split``, ``told`` or ``pinned``.
        degradation: what a told or pinned build is for.
        size: see :func:`parse_size`.
        quantize: recipe of the precision, which it also decides unless that is given.

    Raises:
        UserError: neither target nor recipe, both that disagree, or a wrong value.
    """
    if quantize is not None and precision is None:
        precision = read_quantize_recipe(quantize).precision
    changes = {
        "precision": precision,
        "quantize": quantize,
        "routing": routing,
        "degradation": degradation,
        "size": None if size is None else parse_size(size),
    }
    if routing is not None and routing not in get_args(Routing):
        raise UserError(f"no routing {routing!r}: {nearest(routing, get_args(Routing))}")
    changes = {key: value for key, value in changes.items() if value is not None}
    return [read.model_copy(update=changes) for read in _read(target, recipe)]


def _read(target: str | None, recipe: str | None) -> list[ExportRecipe]:
    if recipe is not None:
        read = read_toml(recipe, ExportRecipe, KIND)
        if target not in (None, read.target):
            raise UserError(f"{recipe} is for {read.target}: leave --target {target} out")
        return [read]
    targets = shipped_names(KIND, ".toml")
    if target not in (*targets, "all"):
        asked = "no target given" if target is None else f"no target {target!r}"
        raise UserError(f"{asked}: {nearest(target or '', [*targets, 'all'])}")
    names = targets if target == "all" else [str(target)]
    return [read_toml(name, ExportRecipe, KIND) for name in names]
