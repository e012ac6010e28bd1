"""python -m cpl_edge.benchmark: what restoring costs on this machine, in time and memory."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES",
            help="Model files, build folders or shipped students to measure beside the builds.",
            show_default=False,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Time builds and peers: default, or a TOML file."),
    ] = None,
    photo: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Restore one photo of this size in pixels."),
    ] = None,
    photo_suite: Annotated[
        bool, typer.Option("--photo-suite", help="Restore photos of the suite's sizes.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Compare two results; exit 1 if B is slower."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Short and marked as quick.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Limit a suite's run; slow models give way first.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads instead of the suite's; photos: 2.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Of photos: a model file, build folder or student."),
    ] = "s",
    builds: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where builds lie; peers are kept there too.")
    ] = Path("build"),
    only_files: Annotated[
        bool, typer.Option("--only-files", help="Measure FILES and no other builds.")
    ] = False,
    peers: Annotated[bool, typer.Option(help="Measure the suite's peers.")] = True,
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where results go, each to a new file.")
    ] = Path("benchmarks/results"),
    threshold: Annotated[
        float, typer.Option(help="Of --compare: the ratio from which a build is slower.")
    ] = 1.05,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --compare: divide by this row's time.")
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Measure latency and memory: of builds and peers, or of whole photos; or compare results."""
    from cpl_edge.benchmark import commands
    from cpl_edge.errors import UserError

    asked = [suite is not None and not photo_suite, photo is not None, photo_suite]
    if sum([*asked, compare is not None]) != 1:
        raise UserError("choose one of --suite default, --photo, --photo-suite and --compare")
    if files and (suite is None or photo_suite):
        raise UserError("FILES are measured by --suite; photos take --model")
    if compare is not None:
        done = commands.compare_results(*compare, threshold, reference)
    elif photo is not None:
        done = commands.one_photo(photo, model, threads or 2)
    elif photo_suite:
        done = commands.photo_suite(suite or "default", model, threads or 2, results, quick)
    else:
        assert suite is not None
        done = commands.latency(
            suite,
            files or [],
            threads=threads,
            builds=builds,
            only_files=only_files,
            peers=peers,
            quick=quick,
            minutes=minutes,
            results=results,
        )
    write_json(json_path, done.values)
    if done.failure is not None:
        from cpl_edge.errors import GateFailed

        raise GateFailed(done.failure)


if __name__ == "__main__":
    main()
