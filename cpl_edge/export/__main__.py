"""python -m cpl_edge.export: a student becomes a build for one target, or for all."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    target: Annotated[
        str | None, typer.Option(help="executorch, coreml, litert, onnx or all.")
    ] = None,
    student: Annotated[str, typer.Option(help="Shipped student, or a .safetensors file.")] = "s",
    recipe: Annotated[
        str | None, typer.Option(help="A TOML file instead of the target's own recipe.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16, w8a8...  [of the recipe]")
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="Quantisation recipe.  [of target and precision]")
    ] = None,
    routing: Annotated[
        str | None, typer.Option(help="auto, split, told or pinned.  [of the recipe]")
    ] = None,
    degradation: Annotated[
        str | None, typer.Option(help="What a told or pinned build is for, e.g. noise.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Pixels: 256, or height x width as in 240x320.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the builds.")] = Path("build"),
    data: Annotated[
        Path | None,
        typer.Option(help="Photos for the gates.  [those that come with scikit-image]"),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Photos that ranges of integers are found on.  [every second one of --data]",
        ),
    ] = None,
    keep_refused: Annotated[
        bool,
        typer.Option("--keep-refused", help="Keep a build that missed a gate, marked as refused."),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep a JSON list of refused builds here; passed ones leave it."
        ),
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Turn a student into a model file, hold it against the student, and write its card."""
    from cpl_edge.export.recipe import read_recipes

    recipes = read_recipes(
        target,
        recipe,
        precision=precision,
        routing=routing,
        degradation=degradation,
        size=size,
        quantize=quantize,
    )
    from cpl_edge.errors import GateFailed, require

    for one in recipes:
        require("torch", one.target)
    from cpl_edge.export.build import export
    from cpl_edge.export.record import read_record
    from cpl_edge.export.record import record as keep_record
    from cpl_edge.export.report import refusal, show

    if record is not None:
        read_record(record)  # a wrong file is told before any work
    outcomes = export(recipes, student, out, data, keep_refused, verbose=debug, calibrate=calibrate)
    show(outcomes)
    write_json(json_path, [outcome.card for outcome in outcomes])
    if record is not None:
        keep_record(record, [outcome.card for outcome in outcomes])
    lines = []
    for one, outcome in zip(recipes, outcomes, strict=True):
        lines += [f"{one.target} refused: {refusal(result)}" for result in outcome.refusals]
        if outcome.refusals and outcome.folder is not None:
            lines.append(f"kept as {outcome.folder}")
    if lines:
        raise GateFailed("\n".join(lines))


if __name__ == "__main__":
    main()
