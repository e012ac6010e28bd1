"""python -m cpl_edge.demo: degrade bundled photos, restore them, show what came out."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Model file, or a shipped student's name.")
    ] = "s",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("build/demo"),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Restore five degradations of five bundled photos; pictures and a table are left in --out."""
    from rich.console import Console

    from cpl_edge.demo.run import run_demo
    from cpl_edge.evaluate.report import print_tables, to_json

    evaluation = run_demo(model, out, threads)
    with (out / "table.txt").open("w", encoding="utf-8") as file:
        print_tables(evaluation, Console(file=file, width=120))
    print_tables(evaluation, Console())
    write_json(json_path, to_json(evaluation))
    worse = [s.label for s in evaluation.summaries if s.gain < 0]
    if worse:
        print(f"worse than its input: {', '.join(worse)}")
    print(f"pictures, contact_sheet.png and table.txt are in {out}")


if __name__ == "__main__":
    main()
