"""What a person can look at while a network trains: JSON lines, pictures, TensorBoard.

Only the first process of a training writes them, and nothing of it decides the weights. What a
killed run wrote after its last checkpoint is taken back when the run goes on.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from cpl_edge.errors import CplEdgeError, require


class Board:
    """The logs of one run folder.

    Args:
        folder: of the run; ``log.jsonl``, ``images/`` and event files are written in it.
        tensorboard: whether to write event files.

    Raises:
        MissingExtra: ``tensorboard`` is asked for and not installed.
    """

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        self.folder = folder
        self.log = folder / "log.jsonl"
        self.images = folder / "images"
        self.events = EventFile(folder) if tensorboard else None

    def start(self, step: int) -> None:
        """Begin or go on after so many steps: forget what a killed run wrote about later ones.

        Raises:
            CplEdgeError: the disk refused.
        """
        with writing(self.log):
            self._forget_rows(step)
        with writing(self.images):
            for picture in self.images.glob("step-*.jpg"):
                number = picture.stem.removeprefix("step-")
                if number.isdigit() and int(number) > step:
                    picture.unlink()
        if self.events:
            self.events.start(step)

    def _forget_rows(self, step: int) -> None:
        if not self.log.exists():
            return
        rows = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [row for row in rows if row.endswith("\n")]
        kept = [row for row in whole if json.loads(row)["step"] <= step]
        if kept != rows:
            # Beside it first: a disk that is full must not cost the rows that are there.
            temporary = self.log.with_name(self.log.name + ".tmp")
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(self.log)

    def add_row(self, row: dict[str, Any]) -> None:
        """Log a validation.

        Args:
            row: ``step``, ``seconds``, figures, and ``validation`` as
                :meth:`cpl_edge.train.validation.Validation.run` gives it.

        Raises:
            CplEdgeError: the disk refused.
        """
        with writing(self.log), self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        if self.events:
            self.events.add_scalars(row["step"], scalars(row))

    def add_picture(self, step: int, picture: Image.Image) -> None:
        """Keep a picture as ``images/step-XXXXXX.jpg``.

        Raises:
            CplEdgeError: the disk refused.
        """
        encoded = io.BytesIO()
        # Full colour resolution: half of it would smear the colours of noise and of letters.
        picture.save(encoded, "JPEG", quality=85, subsampling=0)
        path = self.images / f"step-{step:06d}.jpg"
        with writing(path):
            self.images.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded.getvalue())
        if self.events:
            self.events.add_picture(step, picture.size, encoded.getvalue())


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """The curves that a row of the log adds to, named so that TensorBoard groups them.

    ``train/loss``, ``train/lr``..., and for each degradation ``psnr/noise`` (after),
    ``gain/noise`` (after - before) and with a student ``routed/noise``.
    """
    plain = {k: v for k, v in row.items() if k not in ("step", "seconds", "validation")}
    curves = {f"train/{key}": value for key, value in plain.items()}
    for kind, figures in row.get("validation", {}).items():
        curves[f"psnr/{kind}"] = figures["after"]
        curves[f"gain/{kind}"] = figures["after"] - figures["before"]
        if "routed" in figures:
            curves[f"routed/{kind}"] = figures["routed"]
    return curves


class EventFile:
    """A file of TensorBoard events; a run that was resumed has several.

    Written at once and in this thread, unlike torch's ``SummaryWriter``: what is logged is not lost
    when the process is killed, and a full disk is told in one line instead of in the traceback of
    another thread.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.event_pb2 = _tensorboard("compat.proto.event_pb2")
        self.summary_pb2 = _tensorboard("compat.proto.summary_pb2")
        self.record_writer = _tensorboard("summary.writer.record_writer")
        # TensorBoard reads files of one folder in the order of their names.
        self.path = folder / f"events.out.tfevents.{time.time():.6f}"

    def start(self, step: int) -> None:
        """Tell TensorBoard that what older files say about later steps is void."""
        Event, SessionLog = self.event_pb2.Event, self.event_pb2.SessionLog
        session = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=step + 1, session_log=session))

    def add_scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a point to curves."""
        Value = self.summary_pb2.Summary.Value
        self._add(step, [Value(tag=tag, simple_value=value) for tag, value in values.items()])

    def add_picture(self, step: int, size: tuple[int, int], encoded: bytes) -> None:
        """Add a picture; ``size`` is its width and height, ``encoded`` a JPEG file."""
        Summary = self.summary_pb2.Summary
        width, height = size
        image = Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=encoded
        )
        self._add(step, [Summary.Value(tag="restorations", image=image)])

    def _add(self, step: int, values: list[Any]) -> None:
        summary = self.summary_pb2.Summary(value=values)
        self._write(self.event_pb2.Event(step=step, summary=summary))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with writing(self.path), self.path.open("ab") as file:
            self.record_writer.RecordWriter(file).write(event.SerializeToString())


def _tensorboard(module: str) -> ModuleType:
    return require(f"tensorboard.{module}", "board")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in one line that a file of a run cannot be written, and what to do.

    Raises:
        CplEdgeError: instead of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise CplEdgeError(
            f"cannot write {path} ({error.strerror or error}): make room or let it be written, "
            "then run the same command to go on from the last checkpoint"
        ) from error
