"""Time and memory of restoring one large photo, measured in a process of its own.

Two figures matter for a photo of 12 megapixels: the total over the time of the network calls alone
(at most 1.3), and the peak of resident memory beyond what the process holds once the model is open
and has run (at most 400 MB). The photo and its result count towards the latter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cpl_edge.errors import CplEdgeError
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import open_runtime
from cpl_edge.runtimes.protocol import image_buffer

MEGABYTE = 1e6


@dataclass(frozen=True)
class PhotoCost:
    """What one photo cost.

    Attributes:
        width: in pixels.
        height: in pixels.
        tiles: how many there were.
        threads: CPU threads of the runtime.
        total_seconds: of restoring, reading and writing not counted.
        network_seconds: of that, inside calls of the model: routing and tiles.
        baseline_mb: resident memory once the model is open and has run, in 10^6 bytes.
        peak_mb: highest resident memory of the process.
    """

    width: int
    height: int
    tiles: int
    threads: int
    total_seconds: float
    network_seconds: float
    baseline_mb: float
    peak_mb: float

    @property
    def ratio(self) -> float:
        """Total time over that of the network calls alone."""
        return self.total_seconds / self.network_seconds

    @property
    def beyond_mb(self) -> float:
        """Peak memory beyond the runtime's own."""
        return self.peak_mb - self.baseline_mb


def measure_photo(model: Path, width: int, height: int, threads: int) -> PhotoCost:
    """Restore a synthetic photo in a fresh process and say what it cost.

    Args:
        model: model file.
        width: of the photo in pixels.
        height: of the photo in pixels.
        threads: CPU threads.

    Raises:
        CplEdgeError: the process failed; its last line says why.
    """
    # Peak memory belongs to a process and never falls: so a new one.
    words = [sys.executable, "-m", __spec__.name, str(model), str(width), str(height), str(threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CplEdgeError(f"the measuring process failed: {reason}")
    return PhotoCost(**json.loads(done.stdout))


def restore_once(model: Path, width: int, height: int, threads: int) -> PhotoCost:
    """Measure in this process, which should have done nothing else before."""
    now, peak = memory_readers()
    with closing(open_runtime(model, threads)) as runtime:
        for name, shapes in runtime.signature.items():
            image = image_buffer(runtime.info)
            image[...] = 0.5
            runtime.run(name, image, *(np.zeros(shape, np.float32) for shape in shapes[1:]))
        baseline = now()
        restored = Restorer(runtime).restore(synthetic_photo(width, height))
        return PhotoCost(
            width=width,
            height=height,
            tiles=restored.tiles,
            threads=threads,
            total_seconds=restored.seconds.total,
            network_seconds=restored.seconds.route + restored.seconds.network,
            baseline_mb=baseline / MEGABYTE,
            peak_mb=peak() / MEGABYTE,
        )


def synthetic_photo(
    width: int, height: int, seed: int = 0
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Smooth colour with noise, uint8 (height, width, 3), made row by row."""
    rng = np.random.default_rng(seed)
    image_HWC = np.empty((height, width, 3), np.uint8)
    x_W = np.linspace(0, 6, width, dtype=np.float32)
    for y, row_WC in enumerate(image_HWC):
        base_WC = 128 + 90 * np.sin(x_W[:, None] + y / 300 + np.arange(3))
        noisy_WC = base_WC + rng.standard_normal((width, 3), np.float32) * 15
        row_WC[...] = noisy_WC.clip(0, 255)
    return image_HWC


def memory_readers() -> tuple[Callable[[], float], Callable[[], float]]:
    """Functions for the resident memory of this process now and at its peak, in bytes.

    Where only the peak can be had (macOS), it stands for the present too.
    """
    status = Path("/proc/self/status")
    if status.exists():

        def read(key: str) -> float:
            line = next(x for x in status.read_text().splitlines() if x.startswith(key))
            return float(line.split()[1]) * 1024

        # VmHWM and not getrusage, which counts the parent before exec as well.
        return lambda: read("VmRSS:"), lambda: read("VmHWM:")
    try:
        import resource
    except ModuleNotFoundError as error:
        raise CplEdgeError("memory can be measured on Linux and macOS only") from error

    def peak() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(used if sys.platform == "darwin" else used * 1024)

    return peak, peak


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    print(json.dumps(asdict(restore_once(Path(path), *map(int, numbers)))))
