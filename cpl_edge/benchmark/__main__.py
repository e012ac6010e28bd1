"""python -m cpl_edge.benchmark: what restoring a photo costs on this machine."""

from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    photo: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the photo in pixels.")
    ] = "4000x3000",
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Model file, build folder or a shipped student's name."),
    ] = "s",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Restore a synthetic photo in a fresh process; print its time and memory."""
    import re
    from dataclasses import asdict

    from cpl_edge.benchmark.photo import measure_photo
    from cpl_edge.errors import UserError
    from cpl_edge.machine import machine, versions
    from cpl_edge.runtimes import find_model, open_runtime

    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", photo)
    if size is None or "0" in size.groups():
        raise UserError(f"{photo!r} is no size: give --photo WIDTHxHEIGHT, such as 4000x3000")
    path = find_model(model)
    open_runtime(path, threads).close()  # what is wrong with it is told here, in one line
    cost = measure_photo(path, int(size[1]), int(size[2]), threads)
    print(f"{path}, {threads} threads, {cost.width}x{cost.height} pixels, {cost.tiles} tiles")
    print(f"total      {cost.total_seconds:8.2f} s")
    print(f"network    {cost.network_seconds:8.2f} s   total is {cost.ratio:.3f} times this")
    print(f"peak       {cost.peak_mb:8.0f} MB  {cost.beyond_mb:.0f} MB beyond the runtime's own")
    measured = asdict(cost) | {"ratio": cost.ratio, "beyond_mb": cost.beyond_mb}
    write_json(
        json_path,
        {"model": path.name} | measured | {"machine": machine(), "versions": versions()},
    )


if __name__ == "__main__":
    main()
