import io
from pathlib import Path

import pytest
from rich.console import Console

from cpl_edge.restore import progress
from cpl_edge.restore.progress import TileBar


def draw(terminal, monkeypatch, seconds):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, color_system=None)
    with TileBar(2, console) as bar:
        tell = bar.photo(Path("in/a.jpg"))
        tell(1, 2)
        now[0] += seconds
        tell(2, 2)
        bar.hide()
        bar.photo(Path("in/b.jpg"))(1, 2)
    return file.getvalue()


def test_a_long_run_shows_where_it_is(monkeypatch):
    text = draw(True, monkeypatch, 2.5)
    assert "a.jpg (1/2)" in text and "50%" in text
    assert "b.jpg (2/2)" in text and "75%" in text


@pytest.mark.parametrize(("terminal", "seconds"), [(True, 1.0), (False, 60.0)])
def test_a_short_run_or_a_pipe_shows_nothing(monkeypatch, terminal, seconds):
    assert "jpg" not in draw(terminal, monkeypatch, seconds)
