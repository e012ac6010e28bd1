"""python -m cpl_edge.profile: where the time goes, by operator and by module of the student."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    model: Annotated[
        str | None,
        typer.Argument(help="Model file, build folder or a shipped student's name; run here."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    entry: Annotated[
        str | None,
        typer.Option(
            help="Entry point: forward, route, restore, or one function, as restore_noise. "
            "[forward, or restore]"
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=10000, help="Calls to measure.")] = 30,
    imported: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Read a profile made elsewhere: ETDump, benchmark_model, Xcode's JSON, "
            "ONNX Runtime's JSON or the Android app's.",
        ),
    ] = None,
    build: Annotated[
        Path | None,
        typer.Option("--model", metavar="BUILD", help="With --import: the file it was made of."),
    ] = None,
    etrecord: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With an ETDump: the export's ETRecord.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="adb: run on the attached phone instead of here.")
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(metavar="BINARY", help="With --device adb: the runtime's benchmark program."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.md", help="Write Markdown here.")
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Show a build's time by operator and module, measured here, on a phone, or imported."""
    from rich.console import Console

    from cpl_edge.profile.command import Asked, profiles
    from cpl_edge.profile.report import collect, print_profile, to_markdown

    asked = Asked(model, threads, entry, runs, imported, build, etrecord, device, benchmark)
    found = profiles(asked)
    for profile in found:
        print_profile(profile, Console())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(to_markdown(found), encoding="utf-8")
    write_json(json_path, collect(found).model_dump(mode="json"))


if __name__ == "__main__":
    main()
