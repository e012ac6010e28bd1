import importlib.util
import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

TOYS = Path(__file__).parents[1] / "runtimes" / "toys.py"


@pytest.fixture(scope="session")
def toys():
    """The toy models of the runtimes' tests: 16x12 pixels, three entry points."""
    spec = importlib.util.spec_from_file_location("toys", TOYS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_build(toys, tmp_path):
    """``make_build("a", ".tflite")``: a build folder below tmp_path/build, with its card."""

    def make(name, suffix=".tflite", refused=None, **changes):
        folder = tmp_path / "build" / name
        folder.mkdir(parents=True)
        path = toys.write(folder / f"model{suffix}", **changes)
        layout = "NHWC" if suffix == ".tflite" else "NCHW"
        info = replace(toys.INFO, **{"layout": layout, **changes})
        card = {"model": path.name, "info": json.loads(info.to_json())}
        if refused:
            card["refused"] = refused
        (folder / "card.json").write_text(json.dumps(card))
        return path

    return make


@pytest.fixture
def run(capsys):
    """Call the verb: its exit code, stdout and stderr."""
    from cpl_edge.benchmark.__main__ import main

    def call(*words):
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        return caught.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def latency_run():
    """``latency_run({"peer": (10, 10), "s": (1, 1)})``: a result with these medians of rounds."""
    from cpl_edge.benchmark.schema import LatencyRun, Row

    def make(times, threads=(1,), reference="peer", mode="full"):
        rows = [
            Row(
                name=name,
                kind="peer" if name.startswith("peer") else "student",
                path=f"{name}/model.onnx",
                digest="0" * 64,
                target="onnx",
                runtime="onnx",
                precision="fp32",
                entry_point="forward",
                threads=count,
                queries=len(rounds),
                seconds=1.0,
                complete=True,
                p50_ms=statistics.median(filter(None, rounds)) if rounds else None,
                rounds_ms=tuple(rounds),
                file_bytes=1,
                refused=None if rounds else "it broke",
            )
            for count in threads
            for name, rounds in times.items()
        ]
        return LatencyRun(
            format=1,
            kind="latency",
            suite="test",
            mode=mode,
            started="2026-01-02T03:04:05+00:00",
            seconds=1.0,
            machine={},
            versions={},
            rule={},
            reference=reference,
            rows=tuple(rows),
        )

    return make
