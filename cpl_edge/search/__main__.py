"""python -m cpl_edge.search: train candidates on one budget and compare them."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    suite: Annotated[
        str, typer.Option(help="Shipped list of candidates, or a TOML file.")
    ] = "search-prompts",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="CPL_EDGE_TRAIN_DATA", help="Folder that holds the recipe's image folders."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs; what is there is resumed. [runs/NAME]")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of JSON, tables and plots. [--out]")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop with a checkpoint after so long.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    report: Annotated[
        bool, typer.Option("--report", help="Only report what is finished; train nothing.")
    ] = False,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency", help="Export and time what is finished, on a quiet machine; train nothing."
        ),
    ] = False,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Train all candidates of a list for the same steps, measure them, write tables and plots."""
    from cpl_edge.errors import UserError, require

    require("torch", "train")
    from cpl_edge.search.candidates import read_candidates
    from cpl_edge.search.report import print_report
    from cpl_edge.search.run import collect_finished, search, time_finished

    candidates = read_candidates(suite)
    out = out or Path("runs") / candidates.name
    if latency and report:
        raise UserError("choose one of --latency and --report: --latency reports as well")
    if latency:
        found = time_finished(candidates, data, out, results or out)
    elif report:
        found = collect_finished(candidates, out, results or out)
    else:
        found = search(candidates, data, out, results or out, max_minutes, threads)
    write_json(json_path, found.model_dump(mode="json"))
    print_report(found)
    done = f"{len(found.runs)} of {found.planned} runs in {out}"
    stopped = "" if len(found.runs) == found.planned else "; run the same command to go on"
    print(f"finished {done}{stopped}; results in {results or out}")


if __name__ == "__main__":
    main()
