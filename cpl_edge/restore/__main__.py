"""python -m cpl_edge.restore: photos in, restored photos out."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO...", help="Photos, folders or patterns such as 'in/*.jpg'."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A file for one photo, or a folder. [beside each photo: NAME_restored.png]",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Model file, build folder or a shipped student's name."),
    ] = "s",
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="litert, onnx, executorch, torch, coreml or mil."),
    ] = None,
    degradation: Annotated[
        str,
        typer.Option(metavar="auto|NAME", help="Let the model select, or say what is wrong."),
    ] = "auto",
    passes: Annotated[
        int,
        typer.Option(min=1, max=5, help="Several degradations: restore and look again, so often."),
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [all, at most 4]", show_default=False)
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders of folders.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist.")
    ] = False,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Refuse larger photos.")] = 200.0,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Restore photos of any size: noise, blur, rain, haze and low light."""
    import os
    from contextlib import closing

    from rich.console import Console

    from cpl_edge.errors import CplEdgeError
    from cpl_edge.restore.batch import Done, restore_files
    from cpl_edge.restore.files import plan
    from cpl_edge.restore.passes import in_passes
    from cpl_edge.restore.progress import TileBar
    from cpl_edge.restore.restorer import Restorer
    from cpl_edge.runtimes import find_model, open_runtime

    todo = plan(photos, output, recursive, overwrite)
    path = find_model(model, runtime)
    threads = threads or min(4, os.cpu_count() or 1)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    done, failed = [], list(todo.failed)
    with (
        closing(open_runtime(path, threads, runtime)) as opened,
        TileBar(len(todo.jobs), console) as bar,
    ):
        outcomes = restore_files(
            in_passes(Restorer(opened), passes),
            todo,
            degradation=degradation,
            overwrite=overwrite,
            max_megapixels=max_megapixels,
            progress=bar.photo,
        )
        for outcome in outcomes:
            bar.hide()
            if isinstance(outcome, Done):
                done.append(outcome)
                print(outcome)
            else:
                failed.append(outcome)
        info = opened.info
    for left in todo.skipped:
        print(f"skipped {left.path}: {left.reason}")
    for left in failed:
        console.print(f"failed {left.path}: {left.reason}")
    write_json(
        json_path,
        {
            "model": str(path),
            "target": info.target,
            "precision": info.precision,
            "threads": threads,
            "passes": passes,
            "photos": [outcome.to_dict() for outcome in done],
            "skipped": [{"path": str(left.path), "reason": left.reason} for left in todo.skipped],
            "failed": [{"path": str(left.path), "reason": left.reason} for left in failed],
        },
    )
    if failed:
        raise CplEdgeError(f"{len(failed)} of {len(failed) + len(done)} photos failed")


if __name__ == "__main__":
    main()
