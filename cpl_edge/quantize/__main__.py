"""python -m cpl_edge.quantize: what each target can do, and where a student loses by rounding."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    list_: Annotated[
        bool, typer.Option("--list", help="Which target does which precision, and why not.")
    ] = False,
    analyse: Annotated[
        bool, typer.Option("--analyse", help="What rounding each module alone costs, in dB.")
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="Recipe to analyse, a shipped name or a TOML file.")
    ] = "litert-w8a8",
    student: Annotated[str, typer.Option(help="Shipped student, or a .safetensors file.")] = "s",
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=64)] = 256,
    data: Annotated[
        Path | None, typer.Option(help="Photos.  [those that come with scikit-image]")
    ] = None,
    mixed: Annotated[
        Path | None, typer.Option(help="Write a mixed recipe here, with --analyse.")
    ] = None,
    limit: Annotated[
        float, typer.Option(help="Mean drop in dB that the mixed recipe aims at.", min=0.0)
    ] = 0.3,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Show what can be quantised, or where a student loses; export --precision does the rest."""
    from cpl_edge.errors import UserError

    if list_ == analyse:
        raise UserError("say what to do: --list or --analyse; builds come from cpl_edge.export")
    if list_:
        from cpl_edge.quantize.listing import show_support
        from cpl_edge.quantize.support import SUPPORT

        show_support()
        write_json(json_path, SUPPORT)
        return
    from cpl_edge.errors import require
    from cpl_edge.quantize.recipe import read_quantize_recipe

    chosen = read_quantize_recipe(recipe)
    require("torch", "train")
    from cpl_edge.quantize.sensitivity import analyse as run
    from cpl_edge.quantize.sensitivity import show, write_mixed

    result = run(student, chosen, (size, size), data, limit)
    show(result)
    if mixed is not None:
        write_mixed(mixed, chosen, result)
    write_json(json_path, result.to_json())


if __name__ == "__main__":
    main()
