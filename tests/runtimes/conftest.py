import importlib.util
from pathlib import Path

import pytest

FILES = {
    "litert": (".tflite", ["ai_edge_litert"]),
    "onnx": (".onnx", ["onnx", "onnxruntime"]),
    "executorch": (".pte", ["executorch.exir"]),
}


@pytest.fixture(scope="session")
def toys():
    """The module beside this file; tests are no package, so it cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("toys", Path(__file__).with_name("toys.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy_files(toys, tmp_path_factory):
    """Path of the toy for a runtime; made once, as ExecuTorch takes its time."""
    folder, made = tmp_path_factory.mktemp("toys"), {}

    def get(name):
        suffix, modules = FILES[name]
        for module in modules:
            pytest.importorskip(module)
        if name not in made:
            made[name] = toys.write(folder / f"toy{suffix}", target=name)
        return made[name]

    return get
