"""Export recipes: which build to make, and the limits of its gates, as TOML.

A recipe is a file below ``export/``, one for each target, or any ``.toml`` file of the user.
export/README.md explains the keys; options of the command replace single values.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from cpl_edge.errors import UserError
from cpl_edge.shipped import shipped, shipped_names

KIND = "export"
DEFAULT_SIZE = (256, 256)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Table):
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


class ExportRecipe(_Table):
    """One build.

    Attributes:
        target: a key of `cpl_edge.export.targets.TARGETS`.
        precision: ``fp32`` or ``fp16``.
        routing: ``auto``, ``split`` or ``pinned``.
        degradation: what a pinned build is for.
        size: height and width of the images in pixels.
        limits: precision -> limits of the gates.
    """

    target: str
    precision: str
    routing: Literal["auto", "split", "pinned"] = "auto"
    degradation: str | None = None
    size: tuple[int, int] = DEFAULT_SIZE
    limits: dict[str, Limits]

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
        if self.routing == "pinned":
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


def read_recipe(name_or_path: str, **replaced: object) -> ExportRecipe:
    """Read a recipe.

    Args:
        name_or_path: name of a shipped recipe, or a file that ends in ``.toml``.
        replaced: values to take instead of the recipe's; None leaves the recipe's.

    Raises:
        UserError: no such recipe or file, or a wrong key or value, with the nearest right one.
    """
    path = _recipe_path(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        values |= {key: value for key, value in replaced.items() if value is not None}
        return ExportRecipe.model_validate(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error.errors())}") from error


def read_recipes(
    target: str | None, recipe: str | None = None, size: str | None = None, **replaced: str | None
) -> list[ExportRecipe]:
    """The recipes that a command asks for: of one target, of all, or a file.

    Args:
        target: a target, or ``"all"``.
        recipe: a ``.toml`` file, or None for the target's own recipe.
        size: see :func:`parse_size`.
        replaced: ``precision``, ``routing`` and ``degradation``, where not the recipe's.

    Raises:
        UserError: neither target nor recipe, both that disagree, or a wrong value.
    """
    targets = shipped_names(KIND, ".toml")
    values = {**replaced, "size": None if size is None else parse_size(size)}
    if recipe is not None:
        read = read_recipe(recipe, **values)
        if target not in (None, read.target):
            raise UserError(f"{recipe} is for {read.target}: leave --target {target} out")
        return [read]
    if target == "all":
        return [read_recipe(name, **values) for name in targets]
    if target not in targets:
        asked = "no target given" if target is None else f"no target {target!r}"
        raise UserError(f"{asked}: {nearest(target or '', [*targets, 'all'])}")
    return [read_recipe(target, **values)]


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a wrong word: the nearest right one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"


def _recipe_path(name_or_path: str) -> Path:
    names = shipped_names(KIND, ".toml")
    if name_or_path in names:
        return shipped(KIND, f"{name_or_path}.toml")
    if not name_or_path.endswith(".toml"):
        raise UserError(f"no export recipe {name_or_path!r}: {nearest(name_or_path, names)}")
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; recipes that need no file: {', '.join(names)}")
    return path


def _explain(errors: list[ErrorDetails]) -> str:
    """One line for one mistake, with the nearest key where a key is unknown.

    An unknown key comes first: where it is a misspelt one, that one is missing as well.
    """
    error = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        message = error["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    table = Limits if error["loc"][0] == "limits" else ExportRecipe
    return f"unknown key {where!r}: {nearest(str(error['loc'][-1]), table.model_fields)}"
