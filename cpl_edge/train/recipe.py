"""Training recipes: what decides a student's weights, apart from the images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from cpl_edge.recipe import Table

Positive = Annotated[int, Field(gt=0)]


class Stage(Table):
    """Crop size and batch from a point of the training on.

    Attributes:
        start: share of the steps after which this stage begins, 0 for the first.
        crop: side of the crops in pixels that are restored, a multiple of 4 from 16.
        batch: crops per step.
        context: side of the crop around them that the router sees; it costs little, and a photo's
            strength of haze or darkness cannot be told from a few pixels. 0 for the crop itself.
    """

    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    crop: Annotated[int, Field(ge=16, multiple_of=4)] = 64
    batch: Positive = 20
    context: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _context_holds_crop(self) -> Stage:
        if self.context and (self.context < self.crop or (self.context - self.crop) % 2):
            raise ValueError("context must be 0, or crop plus an even number")
        return self


class TrainRecipe(Table):
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
    folders: list[str] = Field(default_factory=lambda: ["train/bsds500", "train/sunhays80"])
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
    stages: list[Stage] = Field(default_factory=lambda: [Stage()])

    @model_validator(mode="after")
    def _stages_in_order(self) -> TrainRecipe:
        starts = [stage.start for stage in self.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("stages must start at 0 and rise")
        return self

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return [s for s in self.stages if step >= s.start * self.steps][-1]
