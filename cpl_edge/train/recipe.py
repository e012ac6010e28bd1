"""Training recipes: TOML checked by pydantic, unknown keys answered with the nearest right one."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cpl_edge.errors import UserError
from cpl_edge.shipped import shipped

Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """Base of every recipe: no unknown keys, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


R = TypeVar("R", bound=Strict)


class Stage(Strict):
    """Crop size and batch from a point of the training on.

    Attributes:
        start: share of the steps after which this stage begins, 0 for the first.
        crop: side of the crops in pixels that are restored, a multiple of 4.
        batch: crops per step.
        context: side of the crop around them that the router sees; it costs little, and a photo's
            strength of haze or darkness cannot be told from a few pixels. 0 for the crop itself.
    """

    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    crop: Annotated[int, Field(gt=0, multiple_of=4)] = 64
    batch: Positive = 20
    context: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _context_holds_crop(self) -> Stage:
        if self.context and (self.context < self.crop or (self.context - self.crop) % 2):
            raise ValueError("context must be 0, or crop plus an even number")
        return self


class TrainRecipe(Strict):
    """Everything that decides a student's weights, apart from the images.

    Attributes:
        student: a preset of :data:`cpl_edge.models.zoo.STUDENTS`.
        folders: clean images, folders below ``--data``.
        holdout: every how many images one is held out for the validation curve.
        steps: optimiser steps.
        lr: peak learning rate of Muon (convolution weights) and AdamW (the rest).
        warmup: share of the steps with a rising rate; cosine to 0 afterwards.
        clip: largest norm of the gradient.
        loss: ``l1`` or ``charbonnier`` (sqrt(d^2 + 1e-6)).
        routing_weight: weight of the cross-entropy between router and degradation.
        precision: ``bf16`` (autocast) or ``fp32``.
        seed: of the weights, the crops and the degradations.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        stages: crop schedule.
    """

    student: str = "s"
    folders: list[str] = ["train/bsds500", "train/sunhays80"]
    holdout: Positive = 37
    steps: Positive = 60_000
    lr: Annotated[float, Field(gt=0)] = 2e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.02
    clip: Annotated[float, Field(gt=0)] = 1.0
    loss: Annotated[str, Field(pattern="^(l1|charbonnier)$")] = "l1"
    routing_weight: Annotated[float, Field(ge=0)] = 0.01
    precision: Annotated[str, Field(pattern="^(bf16|fp32)$")] = "bf16"
    seed: int = 0
    checkpoint_every: Positive = 500
    validate_every: Positive = 2_000
    stages: list[Stage] = [Stage()]

    @model_validator(mode="after")
    def _stages_in_order(self) -> TrainRecipe:
        starts = [stage.start for stage in self.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("stages must start at 0 and rise")
        return self

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return [s for s in self.stages if step >= s.start * self.steps][-1]


def read_recipe(name_or_path: str, model: type[R], kind: str) -> R:
    """Read a shipped recipe by name, or a TOML file.

    Args:
        name_or_path: ``"student-s"`` or ``"my/recipe.toml"``.
        model: the recipe's class.
        kind: top-level folder of the shipped recipes, e.g. ``"train"``.

    Raises:
        UserError: no such recipe, not TOML, or a key or value that is not allowed.
    """
    path = (
        Path(name_or_path)
        if name_or_path.endswith(".toml")
        else shipped(kind, f"{name_or_path}.toml")
    )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no recipe {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as TOML: {error}") from None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error, model)}") from None


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem in one line, with the nearest right key for an unknown one."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{place or 'recipe'}: {first['msg']}"
    known = list((Stage if first["loc"][0] == "stages" else model).model_fields)
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
    return f"unknown key {place!r}{hint}"
