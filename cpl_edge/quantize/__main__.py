"""python -m cpl_edge.quantize: quantised checkpoints, what targets do, where a student loses."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder: calibrate, write a quantised checkpoint."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Which target does which precision, and why not.")
    ] = False,
    analyse: Annotated[
        bool, typer.Option("--analyse", help="What rounding each module alone costs, in dB.")
    ] = False,
    sqnr: Annotated[
        bool, typer.Option("--sqnr", help="Noise of every activation on the worst crop.")
    ] = False,
    observers: Annotated[
        bool, typer.Option("--observers", help="Compare the ways of finding ranges.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="What a quantised checkpoint loses.")
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="What fp16 costs, and what is nearest to overflow.")
    ] = False,
    half_sums: Annotated[
        bool, typer.Option("--half-sums", help="Accumulate in fp16 as well, with --fp16.")
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="A shipped name, a TOML file, or a precision (of litert).")
    ] = "litert-w8a8",
    student: Annotated[str, typer.Option(help="Shipped student, or a .safetensors file.")] = "s",
    against: Annotated[
        str | None, typer.Option(help="The fp32 student, with --measure.  [found by its digest]")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=64)] = 256,
    data: Annotated[
        Path | None, typer.Option(help="Photos.  [those that come with scikit-image]")
    ] = None,
    judges: Annotated[
        Path | None, typer.Option(help="Other photos to judge on, with --observers.")
    ] = None,
    mixed: Annotated[
        Path | None, typer.Option(help="Write a mixed recipe here, with --analyse.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the sensitivity as PNG here, with --analyse.")
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Time the mixed recipe's build, with --analyse.")
    ] = False,
    limit: Annotated[
        float, typer.Option(help="Mean drop in dB that the mixed recipe aims at.", min=0.0)
    ] = 0.3,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Quantise a student, or show what can be quantised and where a student loses."""
    from cpl_edge.errors import UserError

    if [out is not None, list_, analyse, sqnr, observers, measure, fp16].count(True) != 1:
        raise UserError(
            "say one thing to do: --list, --analyse, --sqnr, --observers, --measure, --fp16, or "
            "-o FOLDER for a quantised checkpoint; model files come from cpl_edge.export"
        )
    if list_:
        from cpl_edge.quantize.listing import show_support
        from cpl_edge.quantize.support import SUPPORT

        show_support()
        write_json(json_path, SUPPORT)
        return
    from cpl_edge.errors import require
    from cpl_edge.quantize.recipe import read_quantize_recipe
    from cpl_edge.quantize.support import PRECISIONS

    chosen = read_quantize_recipe(f"litert-{recipe}" if recipe in PRECISIONS else recipe)
    require("torch", "train")
    shape = (size, size)
    if fp16:
        from cpl_edge.quantize import half

        examined = half.examine(student, shape, data, half_sums)
        write_json(json_path, examined.to_json())
        half.show(examined)
    elif analyse:
        from cpl_edge.quantize import sensitivity

        result = sensitivity.analyse(student, chosen, shape, data, limit)
        sensitivity.show(result)
        figures = result.to_json()
        if mixed is not None:
            sensitivity.write_mixed(mixed, chosen, result)
        if plot is not None:
            from cpl_edge.quantize.sensitivity_plot import plot as draw

            draw(result, f"{student}, {chosen.target} {chosen.precision}", plot)
        if latency:
            from cpl_edge.quantize.latency import compare as time_builds

            kept = sensitivity.mixed_recipe(chosen, result)
            figures["latency_ms"] = time_builds(student, [chosen, kept], shape, data)
        write_json(json_path, figures)
    elif sqnr:
        from cpl_edge.quantize import layers

        view = layers.look(student, chosen, shape, data)
        layers.show(view)
        write_json(json_path, view.to_json())
    elif observers:
        from cpl_edge.quantize.observers import compare, show

        found = compare(student, chosen, shape, data, judges)
        show(found)
        tried = {
            name: {kind: losses.to_json() for kind, losses in table.items()}
            for name, table in found.items()
        }
        write_json(json_path, tried)
    elif measure:
        from cpl_edge.quantize import ptq

        write_json(json_path, ptq.show(ptq.measure(student, against, shape, data)))
    elif out is not None:
        from cpl_edge.quantize.ptq import quantize

        write_json(json_path, quantize(student, chosen, shape, data, out))


if __name__ == "__main__":
    main()
