"""Builds shuffle by DEPTH_TO_SPACE, and compute what they did before."""

import shutil
from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from cpl_edge.export.build import export
from cpl_edge.export.flatbuffer import pack_model, read_model, use_depth_to_space
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import litert

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items()}
KINDS = schema.TensorType


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def files(request, weights, tmp_path_factory):
    """A build, and its file as it was before its shuffles were looked for."""
    out = tmp_path_factory.mktemp("builds")

    def keep(path):
        shutil.copy(path, out / "before.tflite")
        return use_depth_to_space(path)

    recipes = read_recipes("litert", precision=request.param, routing="auto", size="64x72")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litert, "use_depth_to_space", keep)
        (outcome,) = export(recipes, str(weights), out, keep_refused=True)
    return request.param, out / "before.tflite", outcome.folder / "model.tflite"


def operators(path) -> dict[str, list]:
    """Of each signature: names of its operators, and the numbers that they make."""
    model = read_model(path)
    found = {}
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        codes = [model.operatorCodes[op.opcodeIndex].builtinCode for op in graph.operators]
        made = [graph.tensors[op.outputs[0]].type for op in graph.operators]
        found[signature.signatureKey.decode()] = list(zip(map(NAMES.get, codes), made, strict=True))
    return found


def outputs(path) -> dict[str, dict]:
    """What all signatures of a file make of the same random inputs."""
    interpreter, found = Interpreter(str(path), num_threads=1), {}
    for name in interpreter.get_signature_list():
        runner, random = interpreter.get_signature_runner(name), np.random.default_rng(0)
        inputs = sorted(runner.get_input_details().items())
        found[name] = runner(**{key: random.random(d["shape"], np.float32) for key, d in inputs})
    return found


def copied(path, folder):
    return shutil.copy(path, folder / "copy.tflite")


def test_builds_shuffle_by_an_operator_of_their_own(files):
    precision, before, build = files
    kind = KINDS.INT8 if precision == "w8a8" else KINDS.FLOAT32
    old, new = operators(before), operators(build)
    for name, count in {"forward": 2, "restore": 2, "route": 0}.items():
        assert old[name].count(("TRANSPOSE_CONV", kind)) == count
        assert new[name].count(("DEPTH_TO_SPACE", kind)) == count
        expected = Counter("DEPTH_TO_SPACE" if n == "TRANSPOSE_CONV" else n for n, _ in old[name])
        assert Counter(n for n, _ in new[name]) == expected


def test_all_signatures_compute_what_they_did(files, tmp_path):
    _, before, _ = files
    path = copied(before, tmp_path)
    assert use_depth_to_space(path) == 4  # up and tail of two signatures
    assert path.stat().st_size < before.stat().st_size
    old, new = outputs(before), outputs(path)
    assert {name: sorted(made) for name, made in new.items()} == {
        "forward": ["output_0"],
        "restore": ["output_0"],
        "route": ["output_0", "output_1"],
    }
    for name, made in old.items():
        for key, value in made.items():
            assert value.std() > 1e-3
            np.testing.assert_allclose(new[name][key], value, atol=1e-6, rtol=0)


def test_signatures_keep_their_inputs_and_outputs(files):
    def ends(path):
        interpreter = Interpreter(str(path), num_threads=1)
        runners = {n: interpreter.get_signature_runner(n) for n in interpreter.get_signature_list()}
        return {
            (name, end, key): (detail["name"], tuple(detail["shape"]), detail["dtype"])
            for name, runner in runners.items()
            for end in ("input", "output")
            for key, detail in getattr(runner, f"get_{end}_details")().items()
        }

    _, before, build = files
    assert len(ends(build)) == 8
    assert ends(build) == ends(before)


def test_nothing_is_left_that_nobody_uses(files, tmp_path):
    path = copied(files[1], tmp_path)
    use_depth_to_space(path)
    model, old = read_model(path), read_model(files[1])
    held = {entry.buffer for entry in model.metadata or []}
    for graph in model.subgraphs:
        ends = [i for op in graph.operators for i in (*op.inputs, *op.outputs)]
        used = {int(i) for i in (*ends, *graph.inputs, *graph.outputs)} - {-1}
        assert used == set(range(len(graph.tensors)))
        held |= {tensor.buffer for tensor in graph.tensors}
    counts = [[len(graph.tensors) for graph in m.subgraphs] for m in (old, model)]
    # Of each shuffle the shape, the weights and the bias; routing has none.
    assert sorted(a - b for a, b in zip(*counts, strict=True)) == [0, 6, 6]
    stored = {i for i, buffer in enumerate(model.buffers) if buffer.data is not None}
    assert stored <= held
    assert len(stored) < sum(buffer.data is not None for buffer in old.buffers)


def test_there_is_nothing_to_do_a_second_time(files, tmp_path):
    path = copied(files[2], tmp_path)
    assert use_depth_to_space(path) == 0
    assert path.read_bytes() == files[2].read_bytes()


def test_one_changed_weight_of_a_build_stays_a_convolution(files, tmp_path):
    """The others of that file are turned still, and the weight has its effect."""
    precision, before, _ = files
    changed, path = tmp_path / "changed.tflite", tmp_path / "copy.tflite"
    model = read_model(before)
    (shared,) = {
        graph.tensors[op.inputs[1]].buffer
        for graph in model.subgraphs
        for op in graph.operators
        if len(op.inputs) == 4 and graph.tensors[op.inputs[1]].shape[0] == 3
    }
    data = np.array(model.buffers[shared].data).view(np.int8 if precision == "w8a8" else np.float32)
    data[1] = data.max()
    model.buffers[shared].data = data.view(np.uint8)
    changed.write_bytes(pack_model(model))
    shutil.copy(changed, path)
    assert use_depth_to_space(path) == 2
    for name in ("forward", "restore"):
        made = [operator for operator, _ in operators(path)[name]]
        assert (made.count("TRANSPOSE_CONV"), made.count("DEPTH_TO_SPACE")) == (1, 1)
        expected, plain = outputs(changed)[name]["output_0"], outputs(before)[name]["output_0"]
        np.testing.assert_allclose(outputs(path)[name]["output_0"], expected, atol=1e-6, rtol=0)
        assert np.abs(plain - expected).max() > 0.01
