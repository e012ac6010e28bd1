"""python -m cpl_edge.data: check the folders of a dataset, and pack its images."""

from pathlib import Path
from typing import Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json


@verb
def main(
    check: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Say what a dataset lacks (--layout).")
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pack the training images of --layout, or all images, into the bank --out.",
        ),
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="BANK", help="Read a whole bank and check it.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="A layout of --list, e.g. 5tasks.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="BANK", help="Folder of the bank; resumed if there.")
    ] = None,
    list_layouts: Annotated[
        bool, typer.Option("--list", help="List the layouts and exit.")
    ] = False,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Check a dataset, or pack its images so that training never decodes."""
    from cpl_edge.errors import CplEdgeError, UserError

    if list_layouts:
        from cpl_edge.data.layouts import LAYOUTS

        for one in LAYOUTS.values():
            print(f"{one.name:<12} {one.about}")
        return
    if sum(action is not None for action in (check, pack, verify)) != 1:
        raise UserError("say one of --check FOLDER, --pack FOLDER, --verify BANK and --list")

    if check is not None:
        from rich.console import Console

        from cpl_edge.data import layout_checks
        from cpl_edge.data.layouts import find_layout

        if layout is None:
            raise UserError("say with --layout NAME what the folder should hold; --list shows them")
        chosen = find_layout(layout)
        found = layout_checks.check(chosen, check)
        layout_checks.print_report(chosen, check, found, Console())
        write_json(json_path, layout_checks.to_json(chosen, found))
        incomplete = sum(not one.complete for one in found)
        if incomplete:
            raise CplEdgeError(f"{incomplete} of {len(found)} parts of {layout} are incomplete")
        return

    if pack is not None:
        from cpl_edge.data import packing

        if out is None:
            raise UserError("say with --out FOLDER where the bank should be")
        if layout is None:
            names = packing.list_images(pack)
        else:
            from cpl_edge.data.layouts import find_layout

            names = packing.list_training_images(pack, find_layout(layout))
        bank = packing.pack(pack, names, out)
    else:
        from cpl_edge.data.bank import Bank

        assert verify is not None
        bank = Bank(verify)
        bank.verify()
    size = bank.pixels.nbytes
    summary = {"images": len(bank), "bytes": size, "unused": round(bank.unused, 4)}
    write_json(json_path, {"bank": str(bank.folder), **summary})
    print(f"{bank.folder}: {len(bank)} images, {size / 1e9:.3f} GB")
    if bank.unused > 0.2:
        print(f"{bank.unused:.0%} of it is left from changed files: delete it and pack again")


if __name__ == "__main__":
    main()
