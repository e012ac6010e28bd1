import json

import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes.litert import LiteRT, read_metadata

interpreter = pytest.importorskip("ai_edge_litert.interpreter")


@pytest.fixture
def path(toys, tmp_path):
    return toys.write(tmp_path / "toy.tflite")


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_reach_the_interpreter(path, monkeypatch, threads):
    seen = []

    class Recorder(interpreter.Interpreter):
        def __init__(self, *args, **kwargs):
            seen.append(kwargs["num_threads"])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(interpreter, "Interpreter", Recorder)
    LiteRT(path, threads).close()
    assert seen == [threads]


def test_the_xnnpack_delegate_takes_the_model(path):
    runtime = LiteRT(path)
    runtime.run("forward", np.zeros((1, 3, 16, 12), np.float32))
    assert "DELEGATE" in {op["op_name"] for op in runtime._interpreter._get_ops_details()}


def test_nhwc_memory_goes_in_and_out_without_a_copy(path):
    runtime = LiteRT(path)
    seen = {}
    call = runtime._runners["forward"]
    runtime._runners["forward"] = lambda **inputs: seen.update(inputs) or call(**inputs)
    x_BHWC = np.ones((1, 16, 12, 3), np.float32)
    (y_BCHW,) = runtime.run("forward", x_BHWC.transpose(0, 3, 1, 2))
    (given,) = seen.values()
    assert np.shares_memory(given, x_BHWC) and given.flags.c_contiguous
    assert y_BCHW.transpose(0, 2, 3, 1).flags.c_contiguous


def test_metadata_is_read_by_its_key(toys, path):
    assert json.loads(read_metadata(path, "cpl_edge"))["student"] == "toy"
    assert read_metadata(path, "min_runtime_version") == "1.5.0"
    assert read_metadata(path, "nothing") is None


def test_an_entry_point_that_is_missing_is_refused(toys, tmp_path):
    text = toys.write(tmp_path / "toy.tflite") and read_metadata(
        tmp_path / "toy.tflite", "cpl_edge"
    )
    path = toys.write(tmp_path / "half.tflite", text, entry_points=("forward",))
    with pytest.raises(UserError, match="lacks its entry point 'route'"):
        LiteRT(path)
