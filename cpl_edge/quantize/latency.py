"""What modules in float cost: builds of several recipes, timed in turns on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from cpl_edge.cli import track
from cpl_edge.errors import require
from cpl_edge.export.build import describe
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.silence import silence
from cpl_edge.export.targets import TARGETS
from cpl_edge.models.zoo import load_student, student_path
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import QuantizeRecipe
from cpl_edge.runtimes import open_runtime

_CALLS = 20


def compare(
    name: str, recipes: Sequence[QuantizeRecipe], size: tuple[int, int], data: Path | None
) -> dict[str, float]:
    """Convert a student by each recipe and time its ``forward``, one thread, builds in turns.

    Args:
        name: of the student.
        recipes: of one target.
        size: of the builds.
        data: photos to calibrate on, or None for those that come with scikit-image.

    Returns:
        Precision -> median of the calls in ms; also printed.

    Raises:
        MissingExtra: the target's packages are not installed.
    """
    student = load_student(name)
    x_BCHW = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    times: dict[str, list[float]] = {recipe.precision: [] for recipe in recipes}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        runtimes = {}
        for recipe in track(list(recipes), "converting"):
            target = TARGETS[recipe.target]
            for module in target.modules:
                require(module, target.name)
            folder = Path(place) / recipe.precision
            folder.mkdir()
            (asked,) = read_recipes(
                recipe.target, precision=recipe.precision, size=f"{size[0]}x{size[1]}"
            )
            deployed, how = prepare(student, recipe, size, data)
            info = describe(asked, target, student, student_path(name))
            program = replace(target.lower(deployed, info), quantization=how)
            with silence(True):
                runtime = open_runtime(target.convert(program, folder), threads=1)
            stack.callback(runtime.close)
            runtimes[recipe.precision] = runtime
        for _ in range(_CALLS + 1):
            for precision, runtime in runtimes.items():
                start = time.perf_counter()
                runtime.run("forward", x_BCHW)
                times[precision].append(1000 * (time.perf_counter() - start))
    found = {precision: round(statistics.median(t[1:]), 2) for precision, t in times.items()}
    text = ", ".join(f"{precision} {ms:.2f} ms" for precision, ms in found.items())
    Console().print(f"forward at {size[0]}x{size[1]}, 1 thread: {text}")
    return found
