"""An ONNX export, read and run with the raw libraries."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cpl_edge.runtimes import ModelInfo, open_runtime


@pytest.fixture(scope="module")
def model(exported):
    return onnx.load(exported("onnx").folder / "model.onnx")


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.fixture(scope="module", name="x_BCHW")
def a_photo():
    return torch.rand(1, 3, 64, 72, generator=torch.Generator().manual_seed(1))


def test_all_gates_ran_and_passed(exported):
    assert all(result.passed for result in exported("onnx").results)


def test_one_graph_routes_by_itself_or_as_told(model, student, x_BCHW):
    session = session_of(model)
    w_BSN = torch.softmax(torch.randn(1, 1, 15), -1)
    with torch.no_grad():
        routed, told = student(x_BCHW), student.restore(x_BCHW, w_BSN)
        logits = student.logits(x_BCHW)
    assert (routed - told).abs().max() > 1e-2
    y, w, found = session.run(["y", "w", "logits"], {"x": x_BCHW.numpy()})
    np.testing.assert_allclose(y, routed.numpy(), atol=1e-5)
    np.testing.assert_allclose(w, student.select(logits).numpy(), atol=1e-5)
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-4)
    feeds = {"x": x_BCHW.numpy(), "w_given": w_BSN.numpy()}
    np.testing.assert_allclose(session.run(["y"], feeds)[0], told.numpy(), atol=1e-5)


@pytest.mark.parametrize("routing", ["auto", "split"])
def test_the_graph_can_be_cut_into_its_entry_points(exported, student, x_BCHW, routing):
    model = onnx.load(exported("onnx", routing=routing).folder / "model.onnx")
    extractor = onnx.utils.Extractor(model)
    route = extractor.extract_model(["x"], ["w", "logits"])
    restore = extractor.extract_model(["x", "w_used"], ["y"])
    assert len(route.graph.node) + len(restore.graph.node) <= len(model.graph.node)
    w, logits = session_of(route).run(["w", "logits"], {"x": x_BCHW.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(w, student.route(x_BCHW).numpy(), atol=1e-5)
        np.testing.assert_allclose(logits, student.logits(x_BCHW).numpy(), atol=1e-4)
        (y,) = session_of(restore).run(["y"], {"x": x_BCHW.numpy(), "w_used": w})
        np.testing.assert_allclose(y, student(x_BCHW).numpy(), atol=1e-5)


def test_the_file_describes_itself(exported, model):
    stored = {prop.key: prop.value for prop in model.metadata_props}
    info = ModelInfo.from_json(stored["cpl_edge"], "model")
    assert (info.student, info.target, info.routing) == ("tiny", "onnx", "auto")
    assert (info.height, info.width, info.layout) == (64, 72, "NCHW")
    assert info.digest == exported("onnx").card["digest"]


def test_the_file_says_nothing_about_the_machine(model):
    text = model.SerializeToString()
    assert b"stack_trace" not in text
    assert b".py" not in text


def test_operators_are_standard_and_the_weights_are_stored_once(model, student):
    assert {entry.domain for entry in model.opset_import} == {""}
    assert model.opset_import[0].version == 18
    operators = {node.op_type for node in model.graph.node}
    assert "DepthToSpace" in operators
    assert not operators & {"If", "TopK", "Gather", "GatherElements", "Transpose"}
    stored = sum(np.prod(tensor.dims) for tensor in model.graph.initializer)
    parameters = sum(parameter.numel() for parameter in student.parameters())
    assert stored < 1.1 * parameters


def test_a_split_file_does_not_route_by_itself(exported, student, x_BCHW):
    outcome = exported("onnx", routing="split")
    assert outcome.card["entry_points"] == ["route", "restore"]
    with_runtime = open_runtime(outcome.folder / "model.onnx")
    with torch.no_grad():
        w_BSN = student.route(x_BCHW)
        expected = student.restore(x_BCHW, w_BSN).numpy()
    (y,) = with_runtime.run("restore", x_BCHW.numpy(), w_BSN.numpy())
    np.testing.assert_allclose(y, expected, atol=1e-5)
    with_runtime.close()


def test_a_pinned_file_is_plain_convolutions(exported):
    outcome = exported("onnx", routing="pinned", degradation="blur")
    assert set(outcome.card["operators"]["graph"]) == {"Conv", "Relu", "Add", "DepthToSpace"}
    assert outcome.card["info"]["pinned"] == "blur"
