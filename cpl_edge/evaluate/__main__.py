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
    passes: Annotated[
        int, typer.Option(min=1, max=5, help="Restore, look again, so often at most.")
    ] = 1,
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts",
            help="Report which prompts are selected for what, and what forcing others does; for a "
            "student's or teacher's weights. Suite: synthetic, if not given.",
        ),
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the --prompts report.")
    ] = None,
    lpips: Annotated[
        bool, typer.Option("--lpips", help="Measure LPIPS too; needs the extra of that name.")
    ] = False,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="torchvision's AlexNet (.pth or .safetensors) for --lpips; downloaded once, if "
            "not given.",
        ),
    ] = None,
    list_suites: Annotated[bool, typer.Option("--list", help="List the suites and exit.")] = False,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Measure PSNR and SSIM before and after, per image and degradation; or report on prompts."""
    if list_suites:
        from cpl_edge.evaluate.suites import load_suite, suite_names

        for name in suite_names():
            print(f"{name:<12} {load_suite(name).about}")
        return
    from cpl_edge.errors import UserError, require

    if lpips_weights is not None and not lpips:
        raise UserError("--lpips-weights is read for --lpips: add --lpips")
    if prompts:
        if lpips:
            raise UserError("--prompts measures PSNR alone: leave --lpips out")
        if degradation != "auto":
            raise UserError("--prompts forces every degradation in turn: leave --degradation out")
        require("torch", extra="train")
        from rich.console import Console

        from cpl_edge.evaluate.prompts import report_prompts
        from cpl_edge.evaluate.prompts_report import print_prompts, prompts_to_json

        found = report_prompts(model, suite or "synthetic", data, limit, threads)
        print_prompts(found, Console())
        write_json(json_path, prompts_to_json(found))
        if picture is not None:
            from cpl_edge.evaluate.prompts_picture import draw_prompts

            picture.parent.mkdir(parents=True, exist_ok=True)
            draw_prompts(found).save(picture, "PNG")
        return
    if picture is not None:
        raise UserError("--picture draws the report of --prompts: add --prompts")
    if suite is None:
        raise UserError("choose a suite with --suite NAME; --list shows them")

    from rich.console import Console

    from cpl_edge.evaluate.report import print_tables, to_json
    from cpl_edge.evaluate.run import evaluate

    evaluation = evaluate(
        suite, model, data, limit, degradation, threads, passes, lpips, lpips_weights
    )
    print_tables(evaluation, Console())
    write_json(json_path, to_json(evaluation))


if __name__ == "__main__":
    main()
