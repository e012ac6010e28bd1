"""Core ML runs on macOS only; elsewhere a stand-in for coremltools shows what is asked of it."""

import platform
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes.protocol import open_runtime


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "toy.mlpackage"
    path.mkdir()
    return path


def feature(name, *shape):
    return SimpleNamespace(
        name=name, type=SimpleNamespace(multiArrayType=SimpleNamespace(shape=list(shape)))
    )


@pytest.fixture
def stand_in(toys, monkeypatch):
    """coremltools with one toy package, whose features are in an unhelpful order."""
    x, w = feature("x", 1, 3, 16, 12), feature("w", 1, 1, 4)
    y, logits = feature("y", 1, 3, 16, 12), feature("a", 1, 1, 6)
    functions = [
        SimpleNamespace(name="forward", input=[x], output=[y]),
        SimpleNamespace(name="route", input=[x], output=[logits, w]),
        SimpleNamespace(name="restore", input=[w, x], output=[y]),
    ]

    class MLModel:
        def __init__(self, path, function_name):
            self.name = function_name

        def predict(self, given):
            assert all(array.flags.c_contiguous for array in given.values())
            outputs = toys.expected(self.name, *(given[n] for n in ("x", "w") if n in given))
            names = ("w", "a") if self.name == "route" else ("y",)
            return {n: a.astype(np.float16) for n, a in zip(names, outputs, strict=True)}

    spec = SimpleNamespace(
        description=SimpleNamespace(
            metadata=SimpleNamespace(userDefined={"cpl_edge": toys.INFO.to_json()}),
            functions=functions,
        )
    )
    module = ModuleType("coremltools")
    module.utils = SimpleNamespace(load_spec=lambda path: spec)
    module.models = SimpleNamespace(MLModel=MLModel)
    monkeypatch.setitem(sys.modules, "coremltools", module)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    return spec


def test_elsewhere_it_names_the_alternatives(package, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(UserError, match=r"macOS only: .*--runtime mil, .*use a \.tflite"):
        open_runtime(package, runtime="coreml")


def test_entry_points_are_functions_of_the_package(package, stand_in, toys):
    runtime = open_runtime(package)
    x = np.linspace(0, 1, 3 * 16 * 12, dtype=np.float32).reshape(1, 3, 16, 12)
    w = np.linspace(0, 1, 4, dtype=np.float32)[None, None]
    for name, inputs in (("forward", (x,)), ("route", (x,)), ("restore", (x, w))):
        got, wanted = runtime.run(name, *inputs), toys.expected(name, *inputs)
        for a, b in zip(got, wanted, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=1e-3)
    runtime.close()
    with pytest.raises(AssertionError, match="closed"):
        runtime.run("forward", x)


def test_a_missing_function_or_description_is_refused(package, stand_in):
    del stand_in.description.functions[1]
    with pytest.raises(UserError, match="lacks its entry point 'route'"):
        open_runtime(package)
    stand_in.description.metadata.userDefined.clear()
    with pytest.raises(UserError, match="does not describe itself"):
        open_runtime(package)
