import gc
import sys
from dataclasses import replace

import numpy as np
import pytest

from cpl_edge.errors import MissingExtra, UserError
from cpl_edge.runtimes import protocol
from cpl_edge.runtimes.protocol import (
    RUNTIMES,
    by_role,
    check_call,
    find_model,
    image_buffer,
    open_runtime,
)

SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "executorch": ".pte"}
files = pytest.mark.parametrize("name", SUFFIXES)


@pytest.fixture
def opened(toy_files):
    """Open the toy for a runtime, and close it after the test."""
    runtimes = []

    def get(name, threads=1):
        runtimes.append(open_runtime(toy_files(name), threads))
        return runtimes[-1]

    yield get
    for runtime in runtimes:
        runtime.close()


def images(count=1, seed=0):
    rng = np.random.default_rng(seed)
    drawn = [rng.random((1, 3, 16, 12), dtype=np.float32) for _ in range(count)]
    return drawn[0] if count == 1 else drawn


def weights(seed=0):
    return np.random.default_rng(seed).random((1, 1, 4), dtype=np.float32)


@files
def test_every_entry_point_gives_what_the_model_computes(opened, toys, name):
    runtime = opened(name)
    assert runtime.info.target == name and runtime.info.student == "toy"
    assert set(runtime.signature) == {"forward", "route", "restore"}
    x = images()
    for entry, shapes in runtime.signature.items():
        inputs = (x, weights())[: len(shapes)]
        assert shapes == tuple(array.shape for array in inputs)
        got, wanted = runtime.run(entry, *inputs), toys.expected(entry, *inputs)
        assert [a.shape for a in got] == [a.shape for a in wanted]
        for a, b in zip(got, wanted, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=1e-6)


@files
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 2, 1)], ids=str)
def test_the_memory_order_of_the_input_does_not_matter(opened, toys, name, axes):
    x = images()
    view = np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
    (y,) = opened(name).run("forward", view)
    np.testing.assert_allclose(y, toys.expected("forward", x)[0], atol=1e-6)


@files
def test_outputs_outlive_the_next_call(opened, name):
    runtime = opened(name)
    first, second = images(2)
    for entry, extra in (("forward", ()), ("route", ()), ("restore", (weights(),))):
        outputs = runtime.run(entry, first, *extra)
        copies = [array.copy() for array in outputs]
        runtime.run(entry, second, *extra)
        for array, copy in zip(outputs, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
    (y,) = runtime.run("forward", first)
    kept = y.copy()
    runtime.close()
    gc.collect()
    np.testing.assert_array_equal(y, kept)


@files
def test_a_call_that_does_not_fit_is_refused(opened, name):
    runtime = opened(name)
    x = images()
    bad = [
        ("sharpen", x),
        ("forward",),
        ("forward", x, weights()),
        ("restore", x),
        ("forward", x[:, :, :8]),
        ("forward", x.astype(np.float64)),
        ("forward", np.ascontiguousarray(x.transpose(0, 2, 3, 1))),
    ]
    for call in bad:
        with pytest.raises(ValueError, match=r"takes float32 arrays|no entry point"):
            runtime.run(*call)


@files
def test_a_closed_runtime_runs_no_more(opened, name):
    runtime = opened(name)
    runtime.close()
    runtime.close()
    with pytest.raises(AssertionError, match="closed"):
        runtime.run("forward", images())


@files
def test_files_that_are_no_model_are_one_line(toy_files, name, tmp_path):
    whole = toy_files(name).read_bytes()
    path = tmp_path / f"bad{SUFFIXES[name]}"
    contents = [b"", b"hello", b"hello, I am a text" * 50, whole[: len(whole) // 2]]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UserError, match="again") as caught:
            open_runtime(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def patched(path, folder, old, new):
    """A copy with a text of the same length in place of another one: quicker than an export."""
    content, old, new = path.read_bytes(), old.encode(), new.encode()
    assert old in content and len(old) == len(new)
    copy = folder / path.name
    copy.write_bytes(content.replace(old, new))
    return copy


@files
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("cpl_edge", "cpl_edgy", "does not describe itself"),
        ('"format": 1', '"format": 2', "version 2"),
        ('{"format"', '["format"', "is no JSON"),
    ],
    ids=["none", "later", "damaged"],
)
def test_models_of_other_makers_or_versions_are_refused(
    toy_files, name, old, new, reason, tmp_path
):
    path = patched(toy_files(name), tmp_path, old, new)
    with pytest.raises(UserError, match=reason) as caught:
        open_runtime(path)
    assert "\n" not in str(caught.value)


@files
@pytest.mark.parametrize(
    ("truth", "lie"), [('"height": 16', '"height": 18'), ('"levels": 2', '"levels": 3')]
)
def test_a_description_that_does_not_fit_its_file_is_refused(toy_files, name, truth, lie, tmp_path):
    path = patched(toy_files(name), tmp_path, truth, lie)
    with pytest.raises(UserError, match="export it again"):
        open_runtime(path)


def test_open_runtime_says_what_is_wrong_with_a_path(tmp_path):
    cases = {
        tmp_path / "model.bin": "ends in .tflite, .onnx",
        tmp_path / "model.tflite": "does not exist",
    }
    for path, reason in cases.items():
        with pytest.raises(UserError, match=reason):
            open_runtime(path)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match="not a file"):
        open_runtime(tmp_path / "folder.onnx")
    (tmp_path / "file.mlpackage").touch()
    with pytest.raises(UserError, match="not a folder"):
        open_runtime(tmp_path / "file.mlpackage")


def test_open_runtime_insists_on_the_runtime_that_is_asked_for(toy_files):
    path = toy_files("litert")
    open_runtime(path, runtime="litert").close()
    with pytest.raises(UserError, match=r"for the runtime litert, not onnx.*\.onnx file"):
        open_runtime(path, runtime="onnx")
    with pytest.raises(UserError, match="choose from litert"):
        open_runtime(path, runtime="tensorrt")
    with pytest.raises(UserError, match="0 threads"):
        open_runtime(path, threads=0)


def test_a_missing_runtime_names_its_extra(toy_files, monkeypatch):
    path = toy_files("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'cpl-edge\[onnx\]'"):
        open_runtime(path)


def test_find_model_takes_files_builds_and_names(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "shipped", lambda kind, name: tmp_path / kind / name)
    assert find_model("s") == tmp_path / "weights" / "s.tflite"
    assert find_model("s", "torch") == tmp_path / "weights" / "s.safetensors"
    assert find_model(str(tmp_path / "m.onnx")) == tmp_path / "m.onnx"
    build = tmp_path / "build"
    build.mkdir()
    (build / "card.json").touch()
    with pytest.raises(UserError, match="holds 0 models"):
        find_model(str(build))
    (build / "model.pte").touch()
    assert find_model(str(build)) == build / "model.pte"
    (build / "model.tflite").touch()
    with pytest.raises(UserError, match="holds 2 models"):
        find_model(str(build))
    assert find_model(str(build), "litert") == build / "model.tflite"
    with pytest.raises(UserError, match="choose from"):
        find_model("s", "tensorrt")


def test_every_runtime_has_a_module_and_a_suffix():
    assert {suffix for suffix, _ in RUNTIMES.values()} == set(protocol.SUFFIXES)
    assert set(protocol.SUFFIXES.values()) == set(RUNTIMES) - {"mil"}  # it stands in for another


def test_roles_are_told_by_shape():
    assert by_role([("w", (1, 1, 4)), ("x", (1, 3, 2, 2))]) == ["x", "w"]
    assert by_role([("logits", (1, 1, 6)), ("w", (1, 1, 4))]) == ["w", "logits"]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_image_buffer_has_the_memory_order_of_the_file(toys, layout):
    x = image_buffer(replace(toys.INFO, layout=layout))
    assert x.shape == (1, 3, 16, 12)
    in_file = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
    assert in_file.flags.c_contiguous and x.flags.writeable


def test_check_call_names_what_is_there(toys):
    signature = protocol.declared_signature(replace(toys.INFO, entry_points=("forward",)))
    with pytest.raises(ValueError, match="no entry point 'route' in this file; it has forward"):
        check_call(signature, "route", [])
