"""The tables inside a training recipe, and the kinds of number that its words take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cpl_edge.models.shape import Part, Prompt, Statistics
from cpl_edge.recipe import Table

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Stage(Table):
    """Crop size and batch from a point of the training on.

    Attributes:
        start: share of the steps after which this stage begins, 0 for the first.
        crop: side of the crops in pixels that are restored, a multiple of 4 from 16.
        batch: crops per step, over all processes.
        context: side of the crop around them that a student's router sees; it costs little, and a
            photo's strength of haze or darkness cannot be told from a few pixels. 0 for the crop
            itself.
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


class Distillation(Table):
    """What a student learns from a teacher beside the clean images; a weight of 0 leaves it out.

    Attributes:
        teacher: weights that ``python -m cpl_edge.train`` wrote, of a teacher or a larger student,
            a shipped student's name, or a published file made ours.
        output: of L1 to the teacher's restoration.
        frequency: of the difference of the spectra of both restorations.
        feature: of the difference of both networks' attention maps at half and quarter size.
        routing: of KL between the teacher's routers and the student's, prompts matched.
        untaught: degradations that the teacher has nothing to say about: the clean image stands in
            for its restoration, its router is still asked. For what it knows no better.
        cache: fixed batches that the teacher answers once, before the first step; 0 for fresh
            ones in every step.
    """

    teacher: str
    output: Weight = 1.0
    frequency: Weight = 0.0
    feature: Weight = 0.0
    routing: Weight = 0.0
    untaught: tuple[str, ...] = ()
    cache: NotNegative = 0


class Shape(Table):
    """Settings of a :class:`~cpl_edge.models.student.StudentConfig`; None leaves the preset's."""

    widths: tuple[Positive, Positive] | None = None
    blocks: tuple[NotNegative, NotNegative, NotNegative] | None = None
    levels: Positive | None = None
    router_widths: tuple[Positive, Positive] | None = None
    router_hidden: Positive | None = None
    prompt: Prompt | None = None
    router: Statistics | None = None
    prompted: tuple[Part, ...] | None = None
    rank: NotNegative | None = None
    down: Literal[2, 3] | None = None
    own: tuple[str, ...] | dict[str, tuple[str, ...]] | None = None
