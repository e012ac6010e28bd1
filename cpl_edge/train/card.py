"""python -m cpl_edge.train.card: the card of a trained student, from its run and evaluations.

A card says where the weights come from and what they are worth, so that a reader can repeat both:
recipe, images and their terms, steps, time, machine, validation curve, and the summaries of the
evaluations that are given, each with the model file that it ran.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cpl_edge.cli import Debug, verb, write_json


def read_run(run: Path) -> tuple[Path, dict[str, Any]]:
    """A student's weights, and how they were trained.

    Raises:
        UserError: the run is not finished.
    """
    from cpl_edge.errors import UserError

    weights, facts = run / "student.safetensors", run / "run.json"
    if not (weights.is_file() and facts.is_file()):
        raise UserError(f"{run} holds no finished training: run its command until it says finished")
    return weights, json.loads(facts.read_text(encoding="utf-8"))


def make_card(run: Path, evaluations: list[Path], terms: str, limits: list[str]) -> dict[str, Any]:
    """Collect a card.

    Args:
        run: folder of a finished training.
        evaluations: files that ``python -m cpl_edge.evaluate --json`` wrote.
        terms: what the training images allow.
        limits: what a user must know before relying on the student.

    Raises:
        UserError: the run is not finished, or a file is missing or of another student.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cpl_edge.errors import UserError
    from cpl_edge.models.zoo import load_student

    weights, training = read_run(run)
    del training["folder"]  # whose disk it lay on concerns nobody
    if (decision := run / "decision.json").is_file():  # cpl_edge.train.decide
        training["decision"] = json.loads(decision.read_text(encoding="utf-8"))
    rows = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    student = load_student(weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        student(torch.zeros(1, 3, 256, 256))
    figures = []
    for path in evaluations:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            measured = result["model"]["digest"]
            kept = ("degradation", "threads", "limit", "summary", "machine", "versions", "date")
            row = {"suite": result["suite"]["name"], "model": result["model"]["file"]}
            row |= {key: result[key] for key in kept}
        except (OSError, json.JSONDecodeError, KeyError, TypeError):
            raise UserError(f"{path} is no result of cpl_edge.evaluate --json") from None
        if measured != digest:
            raise UserError(f"{path} measured other weights than {weights}: evaluate these")
        figures.append(row)
    return {
        "format": 1,
        "student": training["recipe"]["student"],
        "digest": digest,
        "config": student.config.to_dict(),
        "parameters": sum(p.numel() for p in student.parameters()),
        "macs_256x256": counter.get_total_flops() // 2,
        "training": training | {"terms": terms, "curve": [json.loads(row) for row in rows]},
        "figures": figures,
        "limits": limits,
    }


@verb
def main(
    run: Annotated[Path, typer.Option(help="Folder of a finished training.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Card to write.")],
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="Result of evaluate --json; may be repeated.")
    ] = None,
    terms: Annotated[str, typer.Option(help="What the training images allow.")] = "not stated",
    limit: Annotated[list[str] | None, typer.Option(help="A limit to state; repeatable.")] = None,
    debug: Debug = False,
) -> None:
    """Write a student's card from its training run and its evaluations."""
    from cpl_edge.errors import require

    require("torch", "train")
    # Several shipped students may be of one preset: the card bears the name of its file.
    card = make_card(run, evaluation or [], terms, limit or [])
    write_json(output, card | {"student": output.stem})
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
