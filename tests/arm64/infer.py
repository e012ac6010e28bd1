"""Run every entry point of a model on given arrays: python infer.py MODEL IN.npz OUT.npz.

Runs on either machine: it needs NumPy, one runtime and `cpl_edge.runtimes`.
"""

import platform
import sys
from pathlib import Path

import numpy as np

from cpl_edge.runtimes import open_runtime


def main() -> None:
    """Run forward, route and restore."""
    model, source, target = map(Path, sys.argv[1:])
    with np.load(source) as arrays:
        inputs = dict(arrays)
    runtime = open_runtime(model)
    results = {"machine": np.array(platform.machine())}
    for name, shapes in runtime.signature.items():
        given = (inputs["x"], inputs["w"])[: len(shapes)]
        for i, output in enumerate(runtime.run(name, *given)):
            results[f"{name}{i}"] = np.ascontiguousarray(output)
    runtime.close()
    np.savez(target, **results)


if __name__ == "__main__":
    main()
