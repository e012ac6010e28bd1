import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cpl_edge.runtimes.executorch import ExecuTorch


def test_threads_reach_the_pool(toy_files):
    path = toy_files("executorch")
    from executorch.extension.pybindings import _portable_lib

    for threads in (2, 1):
        ExecuTorch(path, threads).close()
        assert _portable_lib._threadpool_get_thread_count() == threads


def test_results_are_not_overwritten_by_the_next_call(toy_files):
    runtime = ExecuTorch(toy_files("executorch"))
    x_BCHW = np.random.default_rng(0).random((1, 3, 16, 12), np.float32)
    (first,) = runtime.run("forward", x_BCHW)
    kept = first.copy()
    runtime.run("forward", 1 - x_BCHW)
    assert np.array_equal(first, kept)
    runtime.close()
    assert np.array_equal(first, kept)


THREADS_OF_A_CALL = """
import os, sys
from pathlib import Path
import numpy as np
from cpl_edge.runtimes.executorch import ExecuTorch
runtime = ExecuTorch(Path(sys.argv[1]), 1)
before = len(os.listdir("/proc/self/task"))
runtime.run("forward", np.zeros((1, 3, 192, 192), np.float32))
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_call_wakes_no_threads_but_its_own(toys, tmp_path):
    """Those of OpenMP would wait busily beside ExecuTorch's, and be measured with them."""
    pytest.importorskip("executorch")
    path = toys.write(tmp_path / "toy.pte", target="executorch", height=192, width=192)
    command = [sys.executable, "-c", THREADS_OF_A_CALL, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split()[-1] == "0"
