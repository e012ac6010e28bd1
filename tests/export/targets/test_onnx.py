"""An ONNX export, read and run with the raw libraries."""

from contextlib import closing
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from cpl_edge.export.crops import make_crops
from cpl_edge.export.onnx_branches import SHARED, all_graphs
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


# A student whose degradations have convolutions of their own.


@pytest.fixture(scope="module", params=["auto", "split"])
def own(request, exported_each):
    return exported_each("onnx", routing=request.param)


def selected(owning, index, x_BCHW):
    """Weights ``w_BSN`` of one degradation, and what the student makes of them."""
    with torch.no_grad():
        w_BSN = owning.forced(owning.logits(x_BCHW), torch.tensor([index]))
        return w_BSN, owning.restore(x_BCHW, w_BSN).numpy()


def test_each_degradation_is_restored_by_its_own(own, owning, x_BCHW):
    assert not own.refusals
    found = []
    with closing(open_runtime(own.folder / "model.onnx")) as runtime:
        for index in range(3):
            w_BSN, expected = selected(owning, index, x_BCHW)
            found.append(runtime.run("restore", x_BCHW.numpy(), w_BSN.numpy())[0])
            np.testing.assert_allclose(found[-1], expected, atol=1e-5)
        assert min(np.abs(a - b).max() for a, b in pairwise(found)) > 1e-2
        mixed_N = torch.tensor([0.4, 0, 0, 0.2, 0.1, 0.2, 0, 0, 0.1])  # the second has most
        with torch.no_grad():
            expected = owning.restore(x_BCHW, mixed_N[None, None]).numpy()
        (y,) = runtime.run("restore", x_BCHW.numpy(), mixed_N[None, None].numpy())
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_forward_follows_the_router(exported_each, owning):
    crops = make_crops(owning.config.degradations, (64, 72))
    names = set()
    with closing(open_runtime(exported_each("onnx", routing="auto").folder / "model.onnx")) as file:
        for crop in crops:
            with torch.no_grad():
                w_BSN, expected = owning.route(crop.x_BCHW), owning(crop.x_BCHW).numpy()
            names.add(int(w_BSN.argmax()) // 3)
            (y,) = file.run("forward", crop.x_BCHW.numpy())
            np.testing.assert_allclose(y, expected, atol=1e-5)
    assert names == {0, 1, 2}  # else this shows less


def test_a_file_with_branches_describes_itself(own):
    info = own.card["info"]
    auto = info["routing"] == "auto"
    entries = ["forward", "route", "restore"] if auto else ["route", "restore"]
    assert info["own"] and info["entry_points"] == own.card["entry_points"] == entries
    model = onnx.load(own.folder / "model.onnx")
    text = model.SerializeToString()
    assert b"stack_trace" not in text and b".py" not in text
    assert [value.name for value in model.graph.input] == ["x", "w_given" if auto else "w_used"]
    assert [value.name for value in model.graph.output] == ["y", "w", "logits"]
    counted = own.card["operators"]["graph"]
    assert counted["If"] == 2 and counted["DepthToSpace"] == 3 * 2
    assert counted["Conv"] == 2 + 3 * (4 + 2 * 3)


def test_what_degradations_share_is_stored_once(own, owning):
    model = onnx.load(own.folder / "model.onnx")
    tensors = [tensor for graph in all_graphs(model.graph) for tensor in graph.initializer]
    stored = sum(int(np.prod(tensor.dims)) for tensor in tensors)
    parameters = sum(parameter.numel() for parameter in owning.parameters())
    assert stored < 1.2 * parameters
    shared = [t for t in tensors if t.name.startswith(SHARED)]
    assert len(shared) == 1 + 2 + 1 + 2  # down, middle, up, decoder
    (down,) = (t for t in shared if t.name.endswith("down.weight"))
    expected = owning.down.weight.detach().numpy().ravel()
    np.testing.assert_array_equal(numpy_helper.to_array(down), expected)


def test_a_graph_with_branches_can_be_cut(own, owning, x_BCHW):
    model = onnx.load(own.folder / "model.onnx")
    extractor = onnx.utils.Extractor(model)
    route = extractor.extract_model(["x"], ["w", "logits"])
    assert not {node.op_type for node in route.graph.node} & {"If", "ArgMax"}
    w, _ = session_of(route).run(["w", "logits"], {"x": x_BCHW.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(w, owning.route(x_BCHW).numpy(), atol=1e-5)
    restore = extractor.extract_model(["x", "w_used"], ["y"])
    restore.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name.startswith("shared.")
    )
    session = session_of(restore)
    for index in range(3):
        w_BSN, expected = selected(owning, index, x_BCHW)
        (y,) = session.run(["y"], {"x": x_BCHW.numpy(), "w_used": w_BSN.numpy()})
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_each_branch_is_rounded_for_itself(exported_each, owning):
    outcome = exported_each("onnx", "w8a8")
    model = onnx.load(outcome.folder / "model.onnx")
    scales = []
    for graph in all_graphs(model.graph):
        held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        steps = [node for node in graph.node if node.op_type == "QuantizeLinear"]
        if graph.name.startswith("restore_"):
            scales.append([float(np.ravel(held[node.input[1]])[0]) for node in steps])
        else:
            assert not steps  # the router stays in float
    assert len({tuple(part) for part in scales}) == 3
    kinds = owning.config.degradations
    assert set(outcome.card["quality"]) == set(kinds)
    size = outcome.card["info"]["height"], outcome.card["info"]["width"]
    with closing(open_runtime(outcome.folder / "model.onnx")) as runtime, torch.no_grad():
        for index, kind in enumerate(kinds):  # fixed ranges hold for a degradation's own crops
            x_BCHW = make_crops((kind,), size, None, held_out=True)[0].x_BCHW
            w_BSN = owning.forced(owning.logits(x_BCHW), torch.tensor([index]))
            (y_BCHW,) = runtime.run("restore", x_BCHW.numpy(), w_BSN.numpy())
            error = y_BCHW - owning.restore(x_BCHW, w_BSN).numpy()
            assert -10 * np.log10(np.mean(np.square(error))) > 35


def test_a_build_for_one_degradation_has_no_branches(exported_each, owning, x_BCHW):
    outcome = exported_each("onnx", routing="told", degradation="blur")
    assert not outcome.refusals
    assert not outcome.card["info"]["own"]
    assert "If" not in outcome.card["operators"]["graph"]
    with closing(open_runtime(outcome.folder / "model.onnx")) as runtime:
        (y,) = runtime.run("forward", x_BCHW.numpy())
    np.testing.assert_allclose(y, selected(owning, 2, x_BCHW)[1], atol=1e-4)
