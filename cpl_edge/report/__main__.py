"""python -m cpl_edge.report: one page that shows what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    results: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="JSON results. [benchmarks/results]"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Cards of the students. [weights]")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where report.html and report.md go.")
    ] = Path("build/report"),
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Restores the crops before and after.")
    ] = "s",
    crops: Annotated[bool, typer.Option(help="Show crops, which takes seconds.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads for the crops.")] = 2,
    builds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table of builds alone here, as Markdown."),
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Write a self-contained HTML page and its Markdown twin from committed results."""
    from cpl_edge.errors import CplEdgeError
    from cpl_edge.report.make import make_builds, make_report
    from cpl_edge.shipped import shipped_folder

    results = results or shipped_folder("benchmarks") / "results"
    weights = weights or shipped_folder("weights")
    if builds is not None:
        problems = make_builds(results, weights, builds)
        print(f"{builds}: {builds.stat().st_size / 1e3:.0f} kB")
        write_json(json_path, {"markdown": builds.name, "problems": problems})
        if problems:
            raise CplEdgeError("the table lacks these files: " + "; ".join(problems))
        return
    made = make_report(results, weights, out, model if crops else None, threads)
    for path in (made.html, made.markdown):
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    for line in made.regressions:
        print(f"regression: {line}")
    write_json(
        json_path,
        {
            "html": made.html.name,
            "markdown": made.markdown.name,
            "bytes": made.html.stat().st_size,
            "files": made.files,
            "problems": list(made.problems),
            "regressions": list(made.regressions),
        },
    )
    if made.problems:
        raise CplEdgeError("the report lacks these files: " + "; ".join(made.problems))


if __name__ == "__main__":
    main()
