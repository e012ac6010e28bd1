"""A bar over the tiles of all photos of a run, for whoever waits at a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cpl_edge.restore.restorer import Progress as TileProgress

PATIENCE = 2.0
"""Seconds that pass before the bar appears."""


class TileBar:
    """Shows a bar once a run has lasted; nothing where the console is no terminal.

    Args:
        photos: how many there will be.
        console: where to draw, usually stderr.
    """

    def __init__(self, photos: int, console: Console) -> None:
        self._photos = photos
        self._before = 0  # photos begun before the current one
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # results may go to a file
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("restoring", total=photos)

    def photo(self, path: Path) -> TileProgress:
        """Begin the next photo.

        Args:
            path: names the bar.

        Returns:
            What to call after every tile.
        """
        before, self._before = self._before, self._before + 1
        label = path.name if self._photos == 1 else f"{path.name} ({before + 1}/{self._photos})"

        def tell(done: int, total: int) -> None:
            if time.monotonic() - self._start < PATIENCE:
                return
            self._bar.start()  # does nothing while it shows
            self._bar.update(self._task, description=label, completed=before + done / total)

        return tell

    def hide(self) -> None:
        """Leave the terminal to others until the next tile."""
        self._bar.stop()

    def __enter__(self) -> TileBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
