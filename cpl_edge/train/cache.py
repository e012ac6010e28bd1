"""Lessons that are taught once: fixed batches and what the teacher says about them, on the disk.

A teacher's forward costs many times a small student's step. With ``cache = N`` in ``[distil]`` N
batches are degraded and restored by the teacher before the first step, and the student then sees
them over and over, in another order each time.

They lie in the run folder, one record a batch, and are mapped into memory: images and attention
maps in half precision (images so differ by at most 1/16 of a grey level), probabilities in float32.
They are not flipped: a teacher does not restore a mirrored crop to the mirrored restoration, so
only the batches themselves have exact answers.

A batch depends on its number and the seed alone. So a killed making goes on where it was, and every
process of several makes its own part. Beside the file stand the facts that decide what is in it;
where one differs, the file is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from cpl_edge.cli import track
from cpl_edge.errors import CplEdgeError, UserError

_FORMAT = 1
Fields = dict[str, Tensor]
"""What a record holds, by name."""


class LessonFile:
    """N records of equal shapes in one memory-mapped file, made once.

    Args:
        path: of the file, ``*.bin``; the facts lie beside it, and while it is made a ``*.part``.
        count: N.
        facts: plain values that decide what the records hold.
        make: makes the record of a number, in the types that are to be kept. That of 0 is made
            each time, to know the shapes and to see that the images are still the same.

    Raises:
        UserError: the file is there and other facts or images made it.
        CplEdgeError: it is damaged, or the disk is full.
    """

    def __init__(
        self, path: Path, count: int, facts: dict[str, Any], make: Callable[[int], Fields]
    ) -> None:
        self.path, self.count, self.make = path, count, make
        self.facts = json.loads(json.dumps({"format": _FORMAT, "batches": count} | facts))
        first = {name: _stored(value) for name, value in make(0).items()}
        self.dtype = np.dtype([(name, value.dtype, value.shape) for name, value in first.items()])
        self._check_facts()
        if not path.exists():
            try:
                self._write()
            except OSError as error:
                raise CplEdgeError(
                    f"cannot write {path} ({error.strerror}): {self._needs}; what is made is kept"
                ) from error
        if path.stat().st_size != count * self.dtype.itemsize:
            raise CplEdgeError(f"{path} is damaged: delete it, it is then made again")
        self.records: npt.NDArray[np.void] = np.memmap(path, self.dtype, mode="r", shape=(count,))
        if not _alike(self.records[0], first):
            raise UserError(f"{path} was made of other images: delete it or choose another --out")

    def read(self, number: int, device: torch.device) -> Fields:
        """One record, floats as float32, images in channels-last memory."""
        record = self.records[number]
        fields = {name: torch.from_numpy(np.array(record[name])).to(device) for name in self.names}
        return {name: _loaded(value) for name, value in fields.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """What a record holds."""
        return self.dtype.names or ()

    @property
    def _needs(self) -> str:
        size = self.count * self.dtype.itemsize
        return f"{self.count} batches take {size / 2**30:.2f} GiB"

    def _check_facts(self) -> None:
        path = self.path.with_suffix(".json")
        part = self.path.with_suffix(".part")
        if self.path.exists() or part.exists():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                found = {}
            for name, value in self.facts.items():
                if found.get(name) != value:
                    there = self.path if self.path.exists() else part
                    raise UserError(
                        f"{there} was made with another {name!r}: delete it or choose another --out"
                    )
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_text(json.dumps(self.facts, indent=1) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise CplEdgeError(f"cannot write {path}: {error.strerror}") from error

    def _write(self) -> None:
        part, size = self.path.with_suffix(".part"), self.dtype.itemsize
        # Of a kill, the last record may be torn: it is made again.
        done = max(0, part.stat().st_size // size - 1) if part.exists() else 0
        free = shutil.disk_usage(part.parent).free
        if (self.count - done) * size > free:
            raise UserError(f"{self._needs}, the disk has {free / 2**30:.2f}: lower 'cache'")
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(done * size)
            file.seek(done * size)
            for number in track(range(done, self.count), "the teacher's answers"):
                record = np.zeros((), self.dtype)
                for name, value in self.make(number).items():
                    record[name] = _stored(value)
                file.write(record.tobytes())
                file.flush()
                os.fsync(file.fileno())
        part.replace(self.path)


class LessonBank:
    """The batches of a file as a bank (:class:`~cpl_edge.train.task.Bank`), in shuffled rounds.

    Args:
        file: with records of ``x``, ``y``, ``label`` and the teacher's answers.
        device: where batches are wanted.
        seed: of the orders.

    Attributes:
        taken: batches given so far; with it a run goes on where it was.
        answers: what the teacher says about the batch that was given last.
    """

    def __init__(self, file: LessonFile, device: torch.device, seed: int) -> None:
        self.file, self.device, self.seed = file, device, seed
        self.taken = 0
        self.answers: Fields = {}

    def degraded(
        self, kinds: object, count: int, size: int, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next batch; it draws nothing from the generator."""
        turn, place = divmod(self.taken, self.file.count)
        shuffled = Generator().manual_seed(self.seed + 1_000_003 * turn)
        number = int(torch.randperm(self.file.count, generator=shuffled)[place])
        self.taken += 1
        fields = self.file.read(number, self.device)
        x_BCHW, y_BCHW, label_B = (fields.pop(name) for name in ("x", "y", "label"))
        assert (len(x_BCHW), x_BCHW.shape[-1]) == (count, size)
        self.answers = fields
        return x_BCHW, y_BCHW, label_B


def _stored(value: Tensor) -> npt.NDArray[Any]:
    return value.contiguous().cpu().numpy()


def _loaded(value: Tensor) -> Tensor:
    value = value.float() if value.is_floating_point() else value
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def _alike(record: Any, fields: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether clean crops and labels are the same but for rounding, e.g. of another torch."""
    same = np.array_equal(record["label"], fields["label"])
    return same and np.allclose(record["y"], fields["y"], atol=1 / 255)
