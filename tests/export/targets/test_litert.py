"""A LiteRT export, read and run with the raw libraries."""

import json

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from cpl_edge.export.flatbuffer import write_metadata
from cpl_edge.runtimes import ModelInfo


@pytest.fixture(scope="module")
def path(exported):
    return exported("litert").folder / "model.tflite"


@pytest.fixture(scope="module")
def model(path):
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def metadata_of(model) -> dict[str, bytes]:
    return {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata
    }


def test_all_gates_ran_and_passed(exported):
    results = exported("litert").results
    assert {"delegation", "portability"} <= {result.name for result in results}
    assert all(result.passed for result in results)


def test_three_signatures_compute_what_the_student_computes(path, student):
    interpreter = Interpreter(str(path), num_threads=1)
    assert set(interpreter.get_signature_list()) == {"forward", "route", "restore"}
    x_BCHW = torch.rand(1, 3, 64, 72, generator=torch.Generator().manual_seed(1))
    x = x_BCHW.permute(0, 2, 3, 1).contiguous().numpy()
    with torch.no_grad():
        w_BSN, logits = student.route(x_BCHW).numpy(), student.logits(x_BCHW).numpy()
        y = student(x_BCHW).permute(0, 2, 3, 1).numpy()
    (forward,) = interpreter.get_signature_runner("forward")(args_0=x).values()
    np.testing.assert_allclose(forward, y, atol=1e-5)
    route = interpreter.get_signature_runner("route")(args_0=x)
    np.testing.assert_allclose(route["output_0"], w_BSN, atol=1e-5)
    np.testing.assert_allclose(route["output_1"], logits, atol=1e-4)
    (restored,) = interpreter.get_signature_runner("restore")(args_0=x, args_1=w_BSN).values()
    np.testing.assert_allclose(restored, y, atol=1e-5)


def test_everything_runs_in_one_piece_of_xnnpack(exported):
    card = exported("litert").card
    assert card["partitions"] == {"forward": 1, "route": 1, "restore": 1}
    assert card["outside"] == {"forward": [], "route": [], "restore": []}
    assert not {"TRANSPOSE", "GATHER"} & set(card["operators"]["forward"])
    assert card["operators"]["restore"]["DEPTH_TO_SPACE"] == 2
    assert "TRANSPOSE_CONV" not in card["operators"]["forward"]


def test_the_file_describes_itself(model):
    info = ModelInfo.from_json(metadata_of(model)["cpl_edge"].decode(), "model")
    assert (info.target, info.layout, info.height, info.width) == ("litert", "NHWC", 64, 72)


def test_an_entry_is_added_and_nothing_else_changes(exported, tmp_path):
    original = exported("litert", routing="pinned", degradation="noise").folder / "model.tflite"
    copy = tmp_path / "model.tflite"
    copy.write_bytes(original.read_bytes())
    before = schema.ModelT.InitFromPackedBuf(copy.read_bytes(), 0)
    write_metadata(copy, "more", json.dumps({"a": "ü"}))
    after = schema.ModelT.InitFromPackedBuf(copy.read_bytes(), 0)
    added = metadata_of(after)
    assert json.loads(added.pop("more").decode()) == {"a": "ü"}
    assert added == metadata_of(before)
    assert len(after.buffers) == len(before.buffers) + 1
    for old, new in zip(before.buffers, after.buffers[:-1], strict=True):
        assert np.array_equal(old.data, new.data)
    assert Interpreter(str(copy)).get_signature_list() == (
        Interpreter(str(original)).get_signature_list()
    )


def test_constants_stay_aligned(path):
    """Kernels read them in place; schema.fbs asks for 16 bytes."""
    data = path.read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    checked = 0
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)
        if table.DataLength():
            offset = table._tab.Vector(table._tab.Offset(4))
            assert offset % 16 == 0
            checked += 1
    assert checked > 20


def test_weights_are_stored_once(model, student):
    parameters = sum(parameter.numel() for parameter in student.parameters())
    stored = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    # 4 bytes each; up- and tail-convolutions gain a few, names and descriptions the rest.
    assert stored < 1.2 * 4 * parameters
