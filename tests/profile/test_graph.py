"""What the golden model files say about their own operators."""

import pytest

from cpl_edge.profile.graph import GRAPH, Node, of_entry, with_neighbours

BLOCKS = ("encoder.0", "middle.0", "middle.1", "decoder.0")
RESTORE = {"head", "down", "up", "tail"} | {
    f"{block}.{part}" for block in BLOCKS for part in ("scale", "shift", "expand", "project")
}
ROUTE = {"router.conv1", "router.conv2", "router.hidden", "router.head"}
ALL = {"forward": RESTORE | ROUTE, "restore": RESTORE, "route": ROUTE}


@pytest.mark.parametrize("suffix", [".tflite", ".pte"])
def test_every_weighted_operator_has_its_module(golden_model, suffix):
    graphs = golden_model(suffix).graphs
    assert set(graphs) == set(ALL)
    for entry, expected in ALL.items():
        weighted = [node for node in graphs[entry].nodes if node.kind != "other"]
        assert {node.module for node in weighted} == expected


def test_onnx_has_one_graph_for_all(golden_model):
    graphs = golden_model(".onnx").graphs
    weighted = [node for node in graphs[GRAPH].nodes if node.kind != "other"]
    assert {node.module for node in weighted} == RESTORE | ROUTE
    assert {node.mapping for node in weighted} == {"name"}
    assert of_entry(graphs, "restore") is graphs[GRAPH]


def test_work_agrees_between_formats(golden_model):
    macs = {s: golden_model(s).graphs for s in (".onnx", ".tflite", ".pte")}
    onnx, pte = macs[".onnx"][GRAPH].macs, macs[".pte"]["forward"].macs
    assert onnx == pte
    # LiteRT's tail ends in a transposed convolution of zeros and ones: 12 channels to 3.
    assert macs[".tflite"]["forward"].macs == onnx + 12 * 3 * 4 * 32 * 36


def test_executorch_tells_its_partitions(golden_model):
    graph = golden_model(".pte").graphs["forward"]
    assert graph.partitions == 1 and graph.left == []


def test_names_in_litert_files_agree(golden_model):
    nodes = golden_model(".tflite").graphs["route"].nodes
    assert {node.mapping for node in nodes if node.kind != "other"} <= {"name", "order"}
    assert all(node.module == "router" for node in nodes if node.kind == "other")


def test_neighbours_of_the_unknown_stay_unknown():
    nodes = [Node("Mul", "other"), Node("Conv", "conv"), Node("Add", "other")]
    assert {node.module for node in with_neighbours(nodes)} == {"unknown"}


def test_work_is_unknown_where_one_operators_is():
    from cpl_edge.profile.graph import Graph

    known = Node("Conv", "conv", macs=5)
    assert Graph([known]).macs == 5
    assert Graph([known, Node("Conv", "conv")]).macs is None
    assert Graph([Node("Add", "other", macs=0)]).macs is None
