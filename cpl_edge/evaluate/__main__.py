"""python -m cpl_edge.evaluate: quality of a model on a suite of images."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    suite: Annotated[
        str | None, typer.Option(metavar="NAME", help="A suite of --list, or a TOML file.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Model file, build folder or shipped student's name."),
    ] = "s",
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder with the suite's images. [CPL_EDGE_DATA]"),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Only the first images by name; 0 for all.")
    ] = 0,
    degradation: Annotated[
        str,
        typer.Option(
            metavar="auto|oracle|NAME",
            help="Let the model select, tell it the true degradation, or always the same one.",
        ),
    ] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    list_suites: Annotated[bool, typer.Option("--list", help="List the suites and exit.")] = False,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Measure PSNR and SSIM before and after, per image and degradation."""
    if list_suites:
        from cpl_edge.evaluate.suites import load_suite, suite_names

        for name in suite_names():
            print(f"{name:<12} {load_suite(name).about}")
        return
    if suite is None:
        from cpl_edge.errors import UserError

        raise UserError("choose a suite with --suite NAME; --list shows them")

    from rich.console import Console

    from cpl_edge.evaluate.report import print_tables, to_json
    from cpl_edge.evaluate.run import evaluate

    evaluation = evaluate(suite, model, data, limit, degradation, threads)
    print_tables(evaluation, Console())
    write_json(json_path, to_json(evaluation))


if __name__ == "__main__":
    main()
