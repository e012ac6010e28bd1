import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes.onnx import OnnxRuntime

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_threads_reach_the_session(toys, tmp_path):
    runtime = OnnxRuntime(toys.write(tmp_path / "toy.onnx"), threads=3)
    options = runtime._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


def test_a_graph_of_one_input_is_forward_alone(toys, tmp_path):
    path = toys.write(tmp_path / "toy.onnx", entry_points=("forward",))
    runtime = OnnxRuntime(path)
    assert list(runtime.signature) == ["forward"]
    x = np.random.default_rng(0).random((1, 3, 16, 12), dtype=np.float32)
    np.testing.assert_allclose(
        runtime.run("forward", x)[0], toys.expected("forward", x)[0], atol=1e-6
    )


def test_entry_points_that_the_graph_cannot_serve_are_refused(toys, tmp_path):
    path = toys.write(tmp_path / "toy.onnx", toys.INFO.to_json(), entry_points=("forward",))
    with pytest.raises(UserError, match="'route' of its description"):
        OnnxRuntime(path)


def test_a_graph_that_chooses_by_itself_restores_in_one_call(toys, tmp_path):
    path = toys.write(tmp_path / "toy.onnx", target="onnx", own=True)
    runtime = OnnxRuntime(path)
    assert runtime.info.own
    assert list(runtime.signature) == ["forward", "route", "restore"]
    x = np.random.default_rng(0).random((1, 3, 16, 12), dtype=np.float32)
    for w in np.eye(4, dtype=np.float32)[:, None, None]:
        (y,) = runtime.run("restore", x, w)
        np.testing.assert_allclose(y, toys.expected("restore", x, w)[0], atol=1e-6)
