import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cpl_edge.runtimes.info import ModelInfo
from cpl_edge.runtimes.protocol import check_call, declared_signature

TOYS = Path(__file__).parents[1] / "runtimes" / "toys.py"


@pytest.fixture(scope="session")
def toys():
    """The toy models of the runtimes' tests; tests are no package, so by their path."""
    spec = importlib.util.spec_from_file_location("toys", TOYS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy(toys, tmp_path_factory):
    """A LiteRT file: "noise" leaves a photo alone, "rain" (selected if bright) adds 1/4."""
    pytest.importorskip("ai_edge_litert")
    return toys.write(tmp_path_factory.mktemp("toy") / "toy.tflite")


def make_info(**changes):
    return ModelInfo(
        **{
            "student": "stub", "target": "litert", "precision": "fp32", "routing": "auto",
            "pinned": None, "height": 32, "width": 24, "layout": "NHWC", "halo": 6, "multiple": 4,
            "degradations": ("noise", "rain"), "levels": 2, "sites": 1,
            "entry_points": ("forward", "route", "restore"), "digest": "0", **changes,
        }
    )  # fmt: skip


class StubRuntime:
    """A runtime in NumPy: ``network(x_BHWC, w) -> y_BHWC`` and logits from the crop's mean."""

    def __init__(self, info, network):
        self.info, self.network = info, network
        self.signature = declared_signature(info)
        self.calls = []  # (entry point, weights or None)
        self.crops = []

    def run(self, name, *arrays):
        check_call(self.signature, name, arrays)
        x, w = arrays[0], (arrays[1].copy() if name == "restore" else None)
        in_file = x.transpose(0, 2, 3, 1) if self.info.layout == "NHWC" else x
        assert in_file.flags.c_contiguous  # else a runtime would have to copy it
        self.calls.append((name, w))
        if name == "route":
            self.crops.append(x.copy())
            n = self.info.prompts
            logits = np.zeros((1, self.info.sites, n + len(self.info.degradations)), np.float32)
            logits[..., 0], logits[..., 1], logits[..., 3] = 0.5, x.mean(), 1
            return np.full((1, self.info.sites, n), np.nan, np.float32), logits
        y = self.network(x.transpose(0, 2, 3, 1), w).astype(np.float32)
        y = np.ascontiguousarray(y if self.info.layout == "NHWC" else y.transpose(0, 3, 1, 2))
        return (y.transpose(0, 3, 1, 2) if self.info.layout == "NHWC" else y,)

    def close(self):
        pass


@pytest.fixture
def stub():
    """``stub(network, **changes of the description) -> StubRuntime``."""

    def make(network=lambda x, w: x, **changes):
        return StubRuntime(make_info(**changes), network)

    return make


@pytest.fixture(scope="session")
def info():
    """``info(**changes) -> ModelInfo`` of the stub."""
    return make_info
