"""Silence for native libraries and their helpers, which print whatever they are told."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what native code writes to stdout and stderr meanwhile; its errors are raised."""
    saved = {}
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            saved[number] = os.dup(number)
            os.dup2(sink, number)
        yield
    finally:
        for number, copy in saved.items():
            (sys.stdout if number == 1 else sys.stderr).flush()
            os.dup2(copy, number)
            os.close(copy)
        os.close(sink)
