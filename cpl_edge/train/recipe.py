"""Training recipes: what decides a network's weights, apart from the images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from cpl_edge.data.degradations import KINDS
from cpl_edge.data.variation import Variation
from cpl_edge.models.prompts import NegativeWeight
from cpl_edge.recipe import Table, read_toml
from cpl_edge.train.tables import (
    Distillation,
    Momentum,
    NotNegative,
    Positive,
    Shape,
    Stage,
    Weight,
)

__all__ = [
    "Distillation",
    "QatRecipe",
    "Recipe",
    "Shape",
    "Stage",
    "StudentRecipe",
    "TeacherRecipe",
    "read_recipe",
]


class Recipe(Table):
    """What students and teachers have in common.

    Attributes:
        folders: clean images, folders below ``--data``, which are degraded on the fly.
        layout: train on this published dataset instead, a name of
            :data:`cpl_edge.data.layouts.LAYOUTS`; ``--data`` is then its folder or a packed bank.
        holdout: every how many images one is held out for the validation curve.
        steps: optimiser steps.
        optimiser: ``muon`` (convolution weights; AdamW for the rest) or ``adamw``.
        lr: peak learning rate.
        betas: of AdamW.
        warmup: share of the steps with a rising rate.
        restarts: cosines from ``lr`` to ``lr_end`` that follow one another.
        lr_end: where each of them ends.
        clip: largest norm of the gradient.
        loss: ``l1`` or ``charbonnier`` (sqrt(d^2 + 1e-6)).
        ema: decay of the weights' running mean, which is then what is validated and saved; 0 for
            none.
        precision: ``bf16`` (autocast), ``tf32`` (matrix units of a GPU) or ``fp32``.
        compile: ``no``, ``blocks`` (each kind of block once: short) or ``network`` (fastest, takes
            minutes).
        channels_last: memory order of images and weights.
        seed: of the weights, the crops and the degradations.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        stages: crop schedule.
        mix: whole-number share of each degradation in a batch; None for even shares, with a layout
            for those of its repeats.
        variation: what happens to a crop beside its degradation; None for nothing.
    """

    folders: list[str] = Field(default_factory=lambda: ["train/bsds500", "train/sunhays80"])
    layout: Literal["3tasks", "5tasks", "7tasks", "allweather", "cdd11", "weatherbench"] | None = (
        None
    )
    holdout: Positive = 37
    steps: Positive = 60_000
    optimiser: Literal["muon", "adamw"] = "muon"
    lr: Annotated[float, Field(gt=0)] = 2e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.99)
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.02
    restarts: Positive = 1
    lr_end: Weight = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    loss: Annotated[str, Field(pattern="^(l1|charbonnier)$")] = "l1"
    ema: Momentum = 0.0
    precision: Annotated[str, Field(pattern="^(bf16|tf32|fp32)$")] = "bf16"
    compile: Literal["no", "blocks", "network"] = "no"
    channels_last: bool = True
    seed: int = 0
    checkpoint_every: Positive = 500
    validate_every: Positive = 2_000
    stages: list[Stage] = Field(default_factory=lambda: [Stage()])
    mix: dict[str, Positive] | None = None
    variation: Variation | None = None

    @model_validator(mode="after")
    def _stages_in_order(self) -> Recipe:
        starts = [stage.start for stage in self.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("stages must start at 0 and rise")
        return self

    @model_validator(mode="after")
    def _variation_varies_what_is_made(self) -> Recipe:
        if self.layout and self.variation:
            raise ValueError("variation is for folders of clean images: leave it out with a layout")
        return self

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return [s for s in self.stages if step >= s.start * self.steps][-1]


class StudentRecipe(Recipe):
    """Everything that decides a student's weights, apart from the images.

    Attributes:
        network: what kind of recipe this is.
        student: a preset of :data:`cpl_edge.models.zoo.STUDENTS`.
        shape: what its shape has instead of the preset's; None for nothing.
        weights: a trained student to start from, of the same shape, or a smaller one that grows
            into it; None for random weights.
        cut: leave out of ``weights`` the blocks, the last of each part, and the prompts that the
            shape has no place for; it then begins worse than they are.
        keep: share of the starting weights in those that are saved at the end, the mean of where
            training began and ended, which often restores better than both, and better what the
            last training did not show (Wortsman et al., "Robust fine-tuning of zero-shot models",
            CVPR 2022); the curve is of the trained ones.
        router: a trained student whose router to take, after all else, instead of that of
            ``weights``.
        take: trained students, by degradation, from which to take what that one owns instead of
            from ``weights``, of which all else is the same: each may come from the training that
            was best for it, and from a smaller student, which grows first.
        trained: ``all``, the ``router`` alone, whose crops can then be as large as photos, the
            ``body``, all but the router, which then selects as it did before, or ``own``: what each
            degradation owns and nothing else. Every step's crops then have one degradation, in
            turns as ``mix`` says, since no weights learn from two; those that it does not name
            stay as they are.
        selection: who selects prompts in training: the true degradation (``label``), which needs
            prompts of a degradation, or the ``router`` itself.
        routing_weight: weight of the cross-entropy between router and degradation.
        balance_weight: weight of what keeps the router from selecting few prompts only.
        negatives: wrong restorations of each image that CPR makes; 0 for no CPR.
        cpr_weight: of CPR; None for 0.001 / negatives.
        negative_weight: what a wrong one of ``sparse`` prompts weighs: ``router``, ``selected`` or
            ``one``; those of a degradation (``levels``) sum to 1 like the right ones.
        vgg: torchvision's VGG16 state dict for CPR; None for the filter bank.
        distil: what to learn from a teacher; None for nothing.
    """

    network: Literal["student"] = "student"
    student: str = "s"
    shape: Shape | None = None
    weights: str | None = None
    cut: bool = False
    keep: Annotated[float, Field(ge=0, lt=1)] = 0.0
    router: str | None = None
    take: dict[str, str] | None = None
    trained: Literal["all", "router", "body", "own"] = "all"
    selection: Literal["label", "router"] = "label"
    routing_weight: Weight = 0.01
    balance_weight: Weight = 0.0
    negatives: NotNegative = 0
    cpr_weight: Weight | None = None
    negative_weight: NegativeWeight = "router"
    vgg: str | None = None
    distil: Distillation | None = None

    @model_validator(mode="after")
    def _keeps_what_it_started_from(self) -> StudentRecipe:
        if self.keep and not self.weights:
            raise ValueError("'keep' keeps a share of 'weights': give both")
        return self

    @model_validator(mode="after")
    def _cuts_what_it_starts_from(self) -> StudentRecipe:
        if self.cut and not self.weights:
            raise ValueError("'cut' leaves out parts of 'weights': give both")
        return self

    @model_validator(mode="after")
    def _takes_turns(self) -> StudentRecipe:
        if self.trained == "own":
            if not (self.shape and self.shape.own):
                raise ValueError(
                    "trained = \"own\" trains the parts that 'shape' names as own: name some"
                )
            if self.layout or self.distil:
                raise ValueError(
                    'trained = "own" takes turns, which folders of clean images can: leave layout '
                    "and distil out"
                )
        return self

    @model_validator(mode="after")
    def _crops_fit_teacher(self) -> StudentRecipe:
        if self.distil:
            _check_crops(self.stages)
            if self.distil.cache and len(self.stages) > 1:
                raise ValueError("distil.cache keeps batches of one size: give one stage")
        return self


class TeacherRecipe(Recipe):
    """Everything that decides a teacher's weights, apart from the images.

    Attributes:
        network: what kind of recipe this is.
        teacher: a preset of :data:`cpl_edge.models.promptir.PRESETS`.
        degradations: what to train on, keys of :data:`cpl_edge.data.degradations.KINDS`; a layout
            brings its own.
        prompt: ``spm``, ``soft``, ``none`` or ``dppd``.
        prompts: prompts of each site.
        top_k: prompts that ``spm`` selects.
        dpa: whether ``dppd`` assigns prototypes.
        pdl: whether ``dppd`` draws prompts from distributions.
        negatives: wrong restorations of each image that CPR makes; 0 for no CPR.
        cpr_weight: of CPR; None for 0.001 / negatives.
        negative_weight: what wrong prompts weigh: ``router``, ``selected`` or ``one``.
        batched_negatives: make them in one pass, which is faster and takes more memory.
        vgg: torchvision's VGG16 state dict for CPR; None for the filter bank.
        parallel: with several processes, whether each holds the whole network (``ddp``) or a part
            of it (``fsdp``), which takes less memory and more time.
    """

    network: Literal["teacher"]
    teacher: Literal["promptir", "cpl", "cpl-small", "cpl-tiny"] = "cpl-small"
    degradations: tuple[str, ...] = ("noise", "blur", "rain", "haze", "lowlight")
    optimiser: Literal["muon", "adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Momentum, Momentum] = (0.9, 0.9)
    lr_end: Weight = 1e-7
    ema: Momentum = 0.999
    prompt: Literal["spm", "soft", "none", "dppd"] = "spm"
    prompts: Positive = 5
    top_k: Positive = 1
    dpa: bool = True
    pdl: bool = True
    negatives: NotNegative = 0
    cpr_weight: float | None = None
    negative_weight: NegativeWeight = "router"
    batched_negatives: bool = True
    vgg: str | None = None
    parallel: Literal["ddp", "fsdp"] = "ddp"

    @model_validator(mode="after")
    def _parts_fit(self) -> TeacherRecipe:
        _check_crops(self.stages)
        if unknown := [kind for kind in self.degradations if not _is_degradation(kind)]:
            raise ValueError(f"no degradation {unknown[0]!r}: choose from {', '.join(KINDS)}")
        if self.negatives and self.prompt != "spm":
            raise ValueError('negatives need sparse prompts: choose prompt = "spm"')
        if self.prompt == "spm" and self.prompts < 2 * self.top_k:
            raise ValueError("prompts must be at least twice top_k")
        if self.parallel == "fsdp" and self.optimiser == "muon":
            raise ValueError('"fsdp" cuts the matrices that Muon needs whole: choose "adamw"')
        if self.parallel == "fsdp" and self.compile == "network":
            raise ValueError('"fsdp" puts blocks together one by one: choose compile = "blocks"')
        return self


class QatRecipe(Recipe):
    """How a trained student learns to be rounded.

    Attributes:
        network: what kind of recipe this is.
        student: a shipped student or a ``.safetensors`` file; in fp32 it is the teacher as well.
        quantize: quantisation recipe whose roundings it learns to bear.
        clean: weight of the L1 to the clean image.
        output: weight of the L1 to what the fp32 student makes of the same crop.
        range_pace: how much faster than weights the ends of ranges move, as shares of themselves;
            0 leaves them as they were calibrated.
    """

    network: Literal["qat"]
    student: str = "s"
    quantize: str = "litert-w8a8-qat"
    steps: Positive = 3_000
    lr: Annotated[float, Field(gt=0)] = 2e-4
    precision: Literal["fp32"] = "fp32"  # bf16 cannot tell two steps of 8 bits apart
    compile: Literal["no"] = "no"
    clean: Weight = 1.0
    output: Weight = 1.0
    range_pace: Weight = 10.0

    @model_validator(mode="after")
    def _learns_something(self) -> QatRecipe:
        if not self.clean + self.output:
            raise ValueError("one of 'clean' and 'output' must be above 0")
        return self


class _Kind(Table):
    model_config = ConfigDict(extra="ignore")

    network: Literal["student", "teacher", "qat"] = "student"


def read_recipe(name_or_path: str) -> StudentRecipe | TeacherRecipe | QatRecipe:
    """Read a shipped recipe by name or a TOML file, of the kind that its ``network`` says.

    Raises:
        UserError: no such file, or a key or value that is not allowed.
    """
    kind = read_toml(name_or_path, _Kind, "train").network
    if kind == "teacher":
        return read_toml(name_or_path, TeacherRecipe, "train")
    if kind == "qat":
        return read_toml(name_or_path, QatRecipe, "train")
    return read_toml(name_or_path, StudentRecipe, "train")


def _check_crops(stages: list[Stage]) -> None:
    if odd := [stage.crop for stage in stages if stage.crop % 8]:
        raise ValueError(f"crop {odd[0]}: a teacher takes multiples of 8")


def _is_degradation(kind: str) -> bool:
    return all(name in KINDS for name in kind.split("+"))
