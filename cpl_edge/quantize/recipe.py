"""Quantisation recipes: how a precision is made for a target, as TOML.

A recipe is a file below ``quantize/`` named ``<target>-<precision>.toml``, or any ``.toml`` file of
the user. quantize/README.md explains the keys. The limits that the result must keep stand with the
target's other limits in ``export/<target>.toml``.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field, model_validator

from cpl_edge.errors import UserError
from cpl_edge.quantize.support import SUPPORT, Observer
from cpl_edge.recipe import Table, nearest, read_toml

KIND = "quantize"


class CalibrationSet(Table):
    """Which crops decide the ranges of activations.

    Attributes:
        crops: of each degradation.
        seed: of their places and strengths.
        degradations: names, or None for all that the student knows.
    """

    crops: int = Field(default=6, ge=1, le=1000)
    seed: int = Field(default=1000, ge=0)
    degradations: tuple[str, ...] | None = None


class QuantizeRecipe(Table):
    """How one precision of one target is made.

    Attributes:
        target: a key of `cpl_edge.quantize.support.SUPPORT`.
        precision: that the target supports.
        weights: what weights become.
        activations: ``float``, ``dynamic`` (int8, ranges found while running), ``int8``, ``int16``.
        observer: how ranges are found, see `cpl_edge.quantize.ranges`.
        pinned_observer: the same for builds that serve one degradation.
        keep_float: patterns of modules that stay in float, e.g. ``"head"`` or ``"encoder.0.*"``.
        group: output channels that share a palette, 0 for all of a convolution.
        equalise: strength of channel equalisation, 0 for none.
        balance: rewrite prompted blocks so that their roundings cost least.
        one_sided: make blocks round only values that are not negative.
        rounding: of integer weights: each to the nearest, or all of a convolution so that what it
            makes of the crops changes least (`cpl_edge.quantize.fitting`).
        bias_correction: take the mean error that rounding causes out of the biases.
        calibration: for activations with fixed ranges, ``equalise``, ``balance`` and ``rounding``.
    """

    target: str
    precision: str
    weights: Literal["fp16", "int8", "palette8", "palette6", "palette4"]
    activations: Literal["float", "dynamic", "int8", "int16"] = "float"
    observer: Observer = "percentile"
    pinned_observer: Observer = "crops"
    keep_float: tuple[str, ...] = ()
    group: int = Field(default=0, ge=0)
    equalise: float = Field(default=0.0, ge=0, le=1)
    balance: bool = False
    one_sided: bool = False
    rounding: Literal["nearest", "fitted"] = "nearest"
    bias_correction: bool = False
    calibration: CalibrationSet = CalibrationSet()

    @model_validator(mode="after")
    def _is_possible(self) -> QuantizeRecipe:
        if self.target not in SUPPORT:
            raise ValueError(f"no target {self.target!r}: {nearest(self.target, SUPPORT)}")
        offered = SUPPORT[self.target]
        if self.precision not in offered:
            raise ValueError(f"no precision {self.precision!r}: {nearest(self.precision, offered)}")
        if reason := offered[self.precision]:
            raise ValueError(f"{self.target} does not do {self.precision}: {reason}")
        if (self.precision == "dynamic") != (self.activations == "dynamic"):
            raise ValueError(
                'activations = "dynamic" and precision = "dynamic" go together: give both, or '
                'activations = "int8"'
            )
        if self.rounding == "fitted" and self.weights != "int8":
            raise ValueError(
                f'rounding = "fitted" is for weights = "int8", not for {self.weights}: leave it out'
            )
        if self.bias_correction and not self.calibrates:
            raise ValueError(
                "bias_correction needs crops to measure errors on: leave it out, or give "
                'activations = "int8" or "int16"'
            )
        if self.bias_correction and self.one_sided:
            raise ValueError("bias_correction and one_sided exclude each other: choose one")
        return self

    @property
    def calibrates(self) -> bool:
        """Whether ranges of activations have to be found beforehand."""
        return self.activations in ("int8", "int16")

    @property
    def reads_crops(self) -> bool:
        """Whether it takes crops to prepare a student: for ranges, or to rewrite it for them."""
        fitted = self.equalise > 0 or self.balance or self.rounding == "fitted"
        return self.calibrates or fitted

    @property
    def changes_function(self) -> bool:
        """Whether the student that is converted is another one in float."""
        return self.rounding == "fitted" or self.bias_correction


def read_quantize_recipe(name_or_path: str) -> QuantizeRecipe:
    """Read a shipped recipe (``"litert-w8a8"``) or a ``.toml`` file.

    Raises:
        UserError: no such recipe or file, or a wrong key or value, with the nearest right one.
    """
    return read_toml(name_or_path, QuantizeRecipe, KIND)


def kept_in_float(recipe: QuantizeRecipe, modules: Iterable[str]) -> list[str]:
    """The modules that the recipe keeps in float.

    Args:
        recipe: with its patterns.
        modules: names of all modules that could be quantised.

    Raises:
        UserError: a pattern that matches none of them.
    """
    modules = list(modules)
    kept: dict[str, None] = {}
    for pattern in recipe.keep_float:
        found = [name for name in modules if fnmatchcase(name, pattern)]
        if not found:
            raise UserError(
                f"keep_float {pattern!r} matches no module: {nearest(pattern, modules)}"
            )
        kept |= dict.fromkeys(found)
    return list(kept)
