"""The student itself in torch: the reference that every other runtime is compared with."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cpl_edge.errors import UserError, require
from cpl_edge.runtimes.info import ENTRY_POINTS, ModelInfo
from cpl_edge.runtimes.protocol import FloatArray, check_call, declared_signature

if TYPE_CHECKING:
    from cpl_edge.models.student import Student

SIDE = 256
"""Height and width of an image, as in the exported files; the student itself takes any."""


class Torch:
    """A student's ``.safetensors``; see `cpl_edge.runtimes.protocol.Runtime`.

    Args:
        path: the weights.
        threads: torch's threads, which belong to the process.

    Raises:
        UserError: not a student's weights.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        torch = require("torch", extra="train")
        require("safetensors", extra="train")
        from cpl_edge.models.zoo import load_student

        student = load_student(path)
        if not student.config.exported:
            raise UserError(
                f"{path} selects prompts in another way than model files do: give a student with "
                'prompt = "levels"'
            )
        torch.set_num_threads(threads)
        self._student: Student | None = student
        self.info = ModelInfo(
            student=path.stem,
            target="torch",
            precision="fp32",
            routing="auto",
            pinned=None,
            height=SIDE,
            width=SIDE,
            layout="NCHW",
            halo=student.halo,
            multiple=student.multiple,
            degradations=student.config.degradations,
            levels=student.config.levels,
            sites=1,
            entry_points=ENTRY_POINTS,
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
            versions={"torch": version("torch")},
        )
        self.signature = declared_signature(self.info)

    def run(self, name: str, *arrays: FloatArray) -> tuple[FloatArray, ...]:
        """Call an entry point."""
        import torch

        assert self._student is not None, "the runtime is closed"
        check_call(self.signature, name, arrays)
        tensors = [torch.from_numpy(array) for array in arrays]
        with torch.inference_mode():
            if name == "route":
                logits_BSL = self._student.logits(*tensors)
                return self._student.select(logits_BSL).numpy(), logits_BSL.numpy()
            entry = self._student.forward if name == "forward" else self._student.restore
            y: FloatArray = entry(*tensors).numpy()
            return (y,)

    def close(self) -> None:
        """Free the student."""
        self._student = None
