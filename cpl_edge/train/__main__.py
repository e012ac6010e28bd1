"""python -m cpl_edge.train: train a student or a teacher from a recipe."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    recipe: Annotated[str, typer.Option(help="Shipped recipe, or a TOML file.")] = "student-s",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="CPL_EDGE_TRAIN_DATA", help="Folder that holds the recipe's image folders."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; an unfinished run is resumed. [runs/RECIPE]")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop with a checkpoint after so long.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's steps.", min=1)] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files for TensorBoard.")
    ] = False,
    images_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between pictures of held-out images; 0: none. [each validation]", min=0
        ),
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Train a student or a teacher; stops cleanly on SIGTERM and resumes where it stopped."""
    from cpl_edge.errors import require

    require("torch", "train")
    from cpl_edge.train.start import train

    result = train(
        recipe, data, out, max_minutes, threads, device, steps, tensorboard, images_every
    )
    if os.environ.get("RANK", "0") != "0":  # torchrun's other processes
        return
    write_json(json_path, result)
    state = "finished" if result["finished"] else "stopped; run the same command to go on"
    print(f"{state}: step {result['step']} of {result['steps']} in {result['folder']}")


if __name__ == "__main__":
    main()
