"""The parent's side of `worker.py`: start a process, ask it, end it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, Any

from cpl_edge.benchmark.subject import Subject
from cpl_edge.errors import CplEdgeError

WORKER = "cpl_edge.benchmark.worker"


class Refused(CplEdgeError):
    """A file cannot be measured here; the message says why in one line."""


class Worker:
    """A process that holds one model file.

    Args:
        subject: what it opens.

    Attributes:
        subject: what it holds.
        hello: what the process said of it; see `cpl_edge.benchmark.worker.serve`.

    Raises:
        Refused: the file cannot be opened or run here.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        # A file and not a pipe, which fills up when nobody reads it; open as long as the process.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        words = ["raw" if subject.raw else "build", str(subject.path), str(subject.threads)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, *words, ",".join(subject.entries)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )
        try:
            self.hello = self._answer()
            if reason := self.hello.get("refused"):
                raise Refused(str(reason))
        except BaseException:
            self.close()
            raise

    def run(self, entry: str, queries: int, seconds: float) -> tuple[list[float], float]:
        """Time queries until one of both is reached.

        Returns:
            Milliseconds of each, and the processor time of all, in seconds.

        Raises:
            Refused: the process died, of lack of memory for example.
        """
        answer = self._ask({"entry": entry, "queries": queries, "seconds": seconds})
        return answer["times_ms"], answer["cpu_seconds"]

    def peak_mb(self) -> float:
        """Highest resident memory so far, in 10^6 bytes."""
        return float(self._ask({})["peak_mb"])

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it died: reading its answer says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise Refused(f"its process ended with {ending}" + (f": {said[-1]}" if said else ""))
