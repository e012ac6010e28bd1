"""What every verb shares: error lines, exit codes, --json, --debug and progress bars."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")

Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON here.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a typed function into a command with this product's exit codes.

    0: done. 1: a gate or check failed. 2: the user's mistake, told in one line.

    Args:
        function: its parameters become options; it must take ``debug: Debug = False``.

    Returns:
        ``main(argv=None)``, which parses ``argv`` (default ``sys.argv[1:]``) and exits.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from cpl_edge.errors import CplEdgeError

        try:
            function(*args, **kwargs)
        except CplEdgeError as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            print("stopped", file=sys.stderr)
            raise typer.Exit(130) from error

    app.command()(guarded)

    def main(argv: list[str] | None = None) -> None:
        # Under ``python -m`` the module is called "__main__"; its spec knows the real name.
        spec = function.__globals__.get("__spec__")
        module = (spec.name if spec else function.__module__).removesuffix(".__main__")
        name = f"python -m {module}"
        try:
            code = app(args=argv, prog_name=name, standalone_mode=False)
        except typer.TyperException as error:  # a wrong or missing option
            message = error.format_message().rstrip(".")
            print(f"error: {message} (see {name} --help)", file=sys.stderr)
            sys.exit(error.exit_code)
        sys.exit(code or 0)

    main.__doc__ = function.__doc__
    return main


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar on stderr; silent where stderr is no terminal.

    Args:
        items: what to iterate over.
        label: shown before the bar.
        total: number of items, where ``items`` has no length.

    Yields:
        The items, unchanged.
    """
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(
        items,
        description=label,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def write_json(path: Path | None, data: object) -> None:
    """Write results for machines, where ``--json`` asked for them.

    Args:
        path: target file, or None for nothing.
        data: what ``json`` can serialise.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
