"""python -m cpl_edge.train.decide: let a trained router weigh what its mistakes cost.

A router that was taught to name degradations selects the likeliest one. But its mistakes are not
alike: of Rain100L's photos, one that student nano takes for blur loses 3 dB, those that it takes
for noise stay as they were (benchmarks/results/nano-litert-fp32-rain100l.json).
So each name gets an offset, added to the bias of its logit, with which the selection restores most
in the mean of training crops (the Bayes decision, with one number for each choice). Nothing else
changes: no weight of the body, no time, no operator.

Legend: K crops, D degradations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Generator, Tensor

from cpl_edge.cli import Debug, track, verb, write_json
from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.train.card import read_run
from cpl_edge.train.recipe import Recipe, StudentRecipe, read_recipe
from cpl_edge.train.start import read_photos

SURE = 0.97
"""A crop whose likeliest name has this probability is decided: no offset of use changes it."""

_SIDE, _BATCH = 256, 20  # what a model file's router sees; crops drawn at once
_CLEAR_DB, _MOST_DB = 45.0, 15.0  # better than this cannot be seen; no image outweighs all others
_SHARPNESS, _PULL = 3.0, 0.01  # of the softmax that stands for a choice; towards no offset
_ROUNDS, _RATE = 2000, 0.02


@dataclass(frozen=True)
class Outcomes:
    """What each choice makes of crops about which a router is not sure.

    Attributes:
        names_KD: logits of the names.
        psnr_KD: PSNR in dB of what each choice restores.
        label_K: what the crops were degraded by.
        seen: how many crops were looked at.
    """

    names_KD: Tensor
    psnr_KD: Tensor
    label_K: Tensor
    seen: int

    def mean(self, offset_D: Tensor) -> float:
        """Mean PSNR with an offset for each name."""
        choice_K = (self.names_KD + offset_D).argmax(1)
        return float(self.psnr_KD.gather(1, choice_K[:, None]).mean())

    def right(self, offset_D: Tensor) -> int:
        """How many selections are what the crop was degraded by."""
        return int(((self.names_KD + offset_D).argmax(1) == self.label_K).sum())


@torch.no_grad()
def look(student: Student, bank: ImageBank, crops: int, generator: Generator) -> Outcomes:
    """Find crops about which a router is not sure, and restore them with every choice.

    Args:
        student: in evaluation mode, with prompts that belong to degradations.
        bank: training images, with the variation that the student was trained with.
        crops: how many to look at.
        generator: of crops and degradations.

    Raises:
        UserError: the router is sure of all of them.
    """
    kinds = student.config.degradations
    names: list[Tensor] = []
    psnr: list[Tensor] = []
    labels: list[Tensor] = []
    batches = -(-crops // _BATCH)
    for _ in track(range(batches), "crops"):
        x_BCHW, y_BCHW, label_B = bank.degraded(kinds, _BATCH, _SIDE, generator)
        logits_BSL = student.logits(x_BCHW)
        names_BD = student.names(logits_BSL)[:, 0].float()
        for i in (names_BD.softmax(1).amax(1) < SURE).nonzero()[:, 0].tolist():
            every_D = torch.arange(len(kinds))
            w_DSN = student.forced(logits_BSL[i : i + 1].expand(len(kinds), -1, -1), every_D)
            x_DCHW = x_BCHW[i : i + 1].expand(len(kinds), -1, -1, -1)
            error_DCHW = student.restore(x_DCHW, w_DSN).clamp(0, 1) - y_BCHW[i : i + 1]
            mse_D = error_DCHW.square().mean((1, 2, 3)).clamp(min=10 ** (-_CLEAR_DB / 10))
            names.append(names_BD[i])
            psnr.append(-10 * mse_D.log10())
            labels.append(label_B[i])
    if not names:
        raise UserError("the router is sure of every crop: there is nothing to decide")
    return Outcomes(torch.stack(names), torch.stack(psnr), torch.stack(labels), batches * _BATCH)


def fit(outcomes: Outcomes) -> Tensor:
    """Offsets ``offset_D`` with which the selection restores most, of mean 0.

    The largest logit is no function with a gradient: a sharp softmax stands for it. What a choice
    loses against the best one is clipped, so that no single crop outweighs all others.
    """
    loss_KD = (outcomes.psnr_KD.amax(1, keepdim=True) - outcomes.psnr_KD).clamp(max=_MOST_DB)
    offset_D = torch.zeros(loss_KD.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([offset_D], lr=_RATE)
    for _ in range(_ROUNDS):
        share_KD = (_SHARPNESS * (outcomes.names_KD + offset_D)).softmax(1)
        loss = (share_KD * loss_KD).sum(1).mean() + _PULL * offset_D.square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (offset_D - offset_D.mean()).detach()


def decide(
    run: Path, data: Path, crops: int, seed: int, recipe_name: str | None = None
) -> dict[str, Any]:
    """Fit the offsets of a finished run's student and put them into its weights.

    What it was before stays beside it; a second call starts from that.

    Args:
        run: its folder.
        data: holds the folders of images.
        crops: to look at.
        seed: of crops and degradations.
        recipe_name: whose images, mix and variation to take instead of the run's own.

    Returns:
        What was found; also written as ``decision.json`` in the run's folder.

    Raises:
        UserError: the run is not finished, or its student selects otherwise; the recipe has no
            folders of clean images, or they hold one smaller than 256 pixels.
    """
    (weights, training), before = read_run(run), run / "undecided.safetensors"
    if recipe_name:
        recipe: Recipe = read_recipe(recipe_name)
    else:  # from text: a strict table takes no list for a tuple
        recipe = StudentRecipe.model_validate_json(json.dumps(training["recipe"]))
    if recipe.layout:
        raise UserError(
            f"crops of layout {recipe.layout} are not looked at: give with --recipe one that "
            "degrades folders of clean photos"
        )
    student = load_student(before if before.is_file() else weights)
    if student.config.prompt != "levels":
        raise UserError(f"{weights} selects prompts, not degradations: nothing can be decided")
    bank = ImageBank(read_photos(recipe, data)[0], "cpu", recipe.mix, recipe.variation)
    outcomes = look(student, bank, crops, torch.Generator().manual_seed(seed))
    offset_D = fit(outcomes)
    none_D = torch.zeros_like(offset_D)
    found: dict[str, Any] = {
        "offsets": dict(
            zip(student.config.degradations, [round(v, 4) for v in offset_D.tolist()], strict=True)
        ),
        "crops": outcomes.seen,
        "unsure": len(outcomes.label_K),
        "seed": seed,
        "variation": recipe.variation.model_dump() if recipe.variation else None,
        "mix": recipe.mix,
        "psnr": [round(outcomes.mean(o), 3) for o in (none_D, offset_D)],
        "right": [outcomes.right(o) for o in (none_D, offset_D)],
    }
    if not before.is_file():
        save_student(student, before)
    with torch.no_grad():
        student.router.head.bias[: len(offset_D)] += offset_D
    save_student(student, weights)
    write_json(run / "decision.json", found)
    return found


@verb
def main(
    run: Annotated[Path, typer.Option(metavar="FOLDER", help="Of a student's finished training.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            envvar="CPL_EDGE_TRAIN_DATA",
            help="Where the images of its recipe are.",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose crops to look at, if not the run's own recipe's."),
    ] = None,
    crops: Annotated[int, typer.Option(min=20, help="Training crops to look at.")] = 4000,
    seed: Annotated[int, typer.Option(help="Of crops and degradations.")] = 0,
    debug: Debug = False,
) -> None:
    """Give a trained router's names the offsets with which its selection restores most."""
    found = decide(run, data, crops, seed, recipe)
    (before, after), (few, more) = found["psnr"], found["right"]
    told = ", ".join(f"{name} {offset:+.2f}" for name, offset in found["offsets"].items())
    print(f"offsets: {told}")
    print(
        f"{found['unsure']} of {found['crops']} crops were in doubt: {before:.2f} -> {after:.2f} "
        f"dB, {few} -> {more} selected as they were degraded"
    )


if __name__ == "__main__":
    main()
