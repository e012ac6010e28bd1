"""Kinds of file are known by their content, and mistakes are one clear line."""

import shutil

import pytest

from cpl_edge.errors import UserError
from cpl_edge.profile.importing import import_profile
from cpl_edge.profile.model import Model


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("onnxruntime.json", "onnxruntime"),
        ("litert_summary.txt", "benchmark_model"),
        ("benchmark_model.txt", "benchmark_model"),
        ("benchmark_model.csv", "benchmark_model"),
        ("coreml.json", "coreml"),
        ("android.json", "android"),
        ("etdump.etdp", "etdump"),
    ],
)
def test_the_content_tells_the_kind(golden, tmp_path, name, kind):
    if kind == "etdump":
        pytest.importorskip("executorch.devtools")
    renamed = tmp_path / "downloaded.bin"
    shutil.copy(golden / name, renamed)
    found = import_profile(renamed, Model(), "forward")
    assert {profile.kind for profile in found} == {kind}
    assert not any(profile.device.here for profile in found)
    assert all("Not run on a phone here" in profile.notes[0] for profile in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'[{"cat": "Session"', r"damaged or truncated JSON \(line 1"),
        (b'{"kind": "something"}', "JSON of no known kind"),
        (b"[1, 2, 3]", "JSON of no known kind"),
        (b'{"kind": "cpl_edge.profile"}', "a table that this verb wrote"),
        (b'{"kind": "cpl_edge.android"}', "no profile of this version"),
        (b'{"operations": [{"device": "cpu"}]}', "operation 0 lacks its type"),
        (b"\xff\xfe\x00\x01", "of no known kind"),
        (b"hello", "of no known kind: give an ETDump"),
        (b"Inference timings in us: Init: 1", "add --enable_op_profiling"),
        (b"[" * 200000, "nested too deeply|truncated JSON"),
        (
            b'[{"cat": "Session", "name": "model_run"},'
            b'{"cat": "Node", "name": "a_kernel_time", "args": {"op_name": "Conv"}}]',
            "is damaged",
        ),
    ],
)
def test_what_is_no_profile(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        import_profile(path, Model(), "forward")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime.json", "android.json", "coreml.json"])
def test_truncated_json(golden, tmp_path, name):
    cut = tmp_path / name
    cut.write_bytes((golden / name).read_bytes()[:-40])
    with pytest.raises(UserError, match=f"{name} is damaged or truncated JSON"):
        import_profile(cut, Model(), "forward")


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.json does not exist"):
        import_profile(tmp_path / "nothing.json", Model(), "forward")
    with pytest.raises(UserError, match="is a folder"):
        import_profile(tmp_path, Model(), "forward")


def test_an_etrecord_belongs_to_an_etdump(golden, tmp_path):
    with pytest.raises(UserError, match="leave --etrecord out"):
        import_profile(golden / "coreml.json", Model(), "forward", tmp_path / "record")
    with pytest.raises(UserError, match="record does not exist"):
        import_profile(golden / "etdump.etdp", Model(), "forward", tmp_path / "record")
