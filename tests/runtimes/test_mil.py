"""The reference evaluator as a runtime: packages, number types, what it refuses."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes import mil_program
from cpl_edge.runtimes.mil import Evaluation, Mil, UnknownOperator
from cpl_edge.runtimes.mil_arithmetic import Arithmetic
from cpl_edge.runtimes.mil_program import read_package
from cpl_edge.runtimes.protocol import open_runtime


@pytest.fixture(scope="session")
def packages():
    spec = importlib.util.spec_from_file_location(
        "packages", Path(__file__).with_name("packages.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy(packages, toys, tmp_path_factory):
    return packages.write_toy(tmp_path_factory.mktemp("mil") / "toy.mlpackage", toys)


def images():
    x = np.linspace(0, 1, 3 * 16 * 12, dtype=np.float32).reshape(1, 3, 16, 12)
    return x, np.linspace(0, 1, 4, dtype=np.float32)[None, None]


def test_entry_points_are_functions_whatever_their_order(toy, toys):
    runtime = open_runtime(toy, runtime="mil")
    assert runtime.info == toys.INFO
    x, w = images()
    for name, inputs in (("forward", (x,)), ("route", (x,)), ("restore", (x, w))):
        found, wanted = runtime.run(name, *inputs), toys.expected(name, *inputs)
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == np.float32
            np.testing.assert_allclose(one, other, atol=1e-6)
    first = runtime.run("forward", x)[0]
    runtime.run("forward", 1 - x)
    np.testing.assert_array_equal(first, toys.expected("forward", x)[0])
    with pytest.raises(ValueError, match="takes float32 arrays"):
        runtime.run("forward", x.astype(np.float64))
    runtime.close()
    runtime.close()
    with pytest.raises(AssertionError, match="closed"):
        runtime.run("forward", x)


def test_it_stands_in_for_core_ml_where_that_does_not_run(toy, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(UserError, match="--runtime mil"):
        open_runtime(toy, runtime="coreml")
    assert isinstance(open_runtime(toy), Mil)
    with pytest.raises(UserError, match=r"for the runtime mil, not litert.*\.tflite"):
        open_runtime(toy, runtime="litert")


def test_neither_torch_nor_the_converter_is_needed(toy):
    code = (
        "import sys; from pathlib import Path; from cpl_edge.runtimes import open_runtime\n"
        f"open_runtime(Path({str(toy)!r}), runtime='mil').close()\n"
        "heavy = {'torch', 'coremltools', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_coremltools_the_extra_is_named(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    monkeypatch.delitem(sys.modules, "cpl_edge.runtimes._coremltools_proto", raising=False)
    monkeypatch.setattr(mil_program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cpl-edge\[coreml\]'"):
        open_runtime(toy, runtime="mil")


def test_damaged_packages_are_one_line(toy, tmp_path):
    spec = (toy / mil_program.DATA / "model.mlmodel").read_bytes()
    weights = (toy / mil_program.DATA / "weights" / "weight.bin").read_bytes()
    cases = {
        "empty": (b"", b""),
        "text": (b"hello, I am a text" * 50, b""),
        "half": (spec[: len(spec) // 2], weights),
        "no-weights": (spec, b""),
        "half-weights": (spec, weights[:100]),
    }
    for name, (model, blobs) in cases.items():
        data = tmp_path / f"{name}.mlpackage" / mil_program.DATA
        (data / "weights").mkdir(parents=True)
        (data / "model.mlmodel").write_bytes(model)
        (data / "weights" / "weight.bin").write_bytes(blobs)
        with pytest.raises(UserError, match="again") as caught:
            open_runtime(tmp_path / f"{name}.mlpackage", runtime="mil")
        assert "\n" not in str(caught.value)
    (tmp_path / "bare.mlpackage").mkdir()
    with pytest.raises(UserError, match="damaged or no ML program"):
        open_runtime(tmp_path / "bare.mlpackage", runtime="mil")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"height": 18}, "takes .* but its description says"),
        ({"entry_points": ("forward", "route", "restore"), "levels": 3}, "export it again"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(packages, toys, tmp_path, change, reason):
    text = replace(toys.INFO, **change).to_json()
    path = packages.write_toy(tmp_path / "toy.mlpackage", toys, text=text)
    with pytest.raises(UserError, match=reason):
        open_runtime(path, runtime="mil")


def test_a_package_without_description_or_entry_point_is_refused(packages, toys, tmp_path):
    path = packages.write_toy(tmp_path / "none.mlpackage", toys, text="")
    with pytest.raises(UserError, match="is no JSON"):
        open_runtime(path, runtime="mil")
    package = packages.Package()
    for name in ("forward", "other"):
        f = package.function(name)
        f.returns(f.apply("relu", (1, 3, 16, 12), x=f.input("x", (1, 3, 16, 12))))
    path = package.save(tmp_path / "two.mlpackage", toys.INFO.to_json())
    with pytest.raises(UserError, match="lacks its entry point 'route'"):
        open_runtime(path, runtime="mil")


def test_a_program_of_one_function_may_call_it_main(packages, toys, tmp_path):
    package = packages.Package()
    f = package.function("main")
    f.returns(f.apply("relu", (1, 3, 16, 12), x=f.input("x", (1, 3, 16, 12))))
    info = replace(toys.INFO, routing="pinned", pinned="rain", entry_points=("forward",))
    runtime = open_runtime(package.save(tmp_path / "m.mlpackage", info.to_json()), runtime="mil")
    x, _ = images()
    np.testing.assert_array_equal(runtime.run("forward", x - 0.5)[0], np.maximum(x - 0.5, 0))


@pytest.mark.parametrize(
    ("operator", "inputs", "reason"),
    [
        ("lstm", {}, "does not know the operator 'lstm'.*mil_operators"),
        ("relu", {"slope": 0.5}, "does not know 'slope' of the operator 'relu'"),
    ],
)
def test_what_is_not_known_is_named_with_its_entry_point(
    packages, toys, tmp_path, operator, inputs, reason
):
    package = packages.Package()
    f = package.function("forward")
    image = (1, 3, 16, 12)
    f.returns(f.apply(operator, image, x=f.input("x", image), **inputs))
    info = replace(toys.INFO, routing="pinned", pinned="rain", entry_points=("forward",))
    path = package.save(tmp_path / "odd.mlpackage", info.to_json())
    with pytest.raises(UnknownOperator, match=f"'forward': .*{reason}"):
        open_runtime(path, runtime="mil")


def evaluate(package, tmp_path, arithmetic, watch=None, **given):
    function = read_package(package.save(tmp_path / "p.mlpackage")).functions["forward"]
    (found,) = Evaluation(function)(given, arithmetic, watch).values()
    return found


def test_values_are_rounded_to_their_declared_type(packages, tmp_path):
    """x + 1/4096 in fp16 is x; the program declares the first sum as fp16 and not the second."""
    package = packages.Package()
    f = package.function()
    x = f.input("x", (1, 2))
    small = f.constant(np.full((1, 2), 1 / 4096, np.float32))
    half = f.apply("add", (1, 2), "FLOAT16", x=x, y=small)
    f.returns(f.apply("add", (1, 2), x=half, y=small))
    x = np.ones((1, 2), np.float32)
    once, twice = 1 + 1 / 4096, 1 + 2 / 4096
    cases = {"declared": once, "fp32": twice, "fp16": 1.0}
    for i, (floats, wanted) in enumerate(cases.items()):
        found = evaluate(package, tmp_path / str(i), Arithmetic(floats), x=x)
        assert found.tolist() == [[wanted, wanted]]


def test_sums_in_half_precision_are_for_values_of_that_type(packages, tmp_path):
    package = packages.Package()
    f = package.function()
    x = f.input("x", (1, 4096), "FLOAT16")
    half = f.apply("reduce_sum", (1, 1), "FLOAT16", x=x, axes=np.array([1]), keep_dims=True)
    single = f.apply("reduce_sum", (1, 1), "FLOAT32", x=x, axes=np.array([1]), keep_dims=True)
    f.returns(f.apply("concat", (1, 2), values=[half, single], axis=1, interleave=False))
    x = np.ones((1, 4096), np.float32)
    found = evaluate(package, tmp_path / "a", Arithmetic(half_sums=True), x=x)
    assert found.tolist() == [[2048, 4096]]
    assert evaluate(package, tmp_path / "b", Arithmetic(), x=x).tolist() == [[4096, 4096]]


def test_an_overflow_becomes_infinite_without_a_warning(packages, tmp_path):
    package = packages.Package()
    f = package.function()
    x = f.input("x", (1, 2), "FLOAT16")
    f.returns(f.apply("mul", (1, 2), "FLOAT16", x=x, y=x))
    seen = []
    x = np.array([[300.0, 2]], np.float32)
    found = evaluate(package, tmp_path, Arithmetic(), lambda t, v: seen.append(v.max()), x=x)
    assert found.tolist() == [[np.inf, 4]]
    assert seen == [90000]  # who watches sees how far it went


def test_compressed_constants_and_words_and_lists_are_read(packages, tmp_path):
    package = packages.Package()
    f = package.function()
    x = f.input("x", (1, 4))
    blocks = f.apply(
        "constexpr_blockwise_shift_scale", (1, 4),
        data=f.constant(np.array([[-8, -1, 2, 7]], np.int8), dtype="INT4"),
        scale=f.constant(np.array([[0.5, 2]], np.float32)),
    )  # fmt: skip
    palette = f.apply(
        "constexpr_lut_to_dense", (1, 4),
        indices=f.constant(np.array([[3, 0, 1, 2]], np.uint8), dtype="UINT2"),
        lut=f.constant(np.array([1, 2, 3, 4], np.float16).reshape(1, 1, 4, 1)),
    )  # fmt: skip
    old = f.attributed(
        "constexpr_affine_dequantize", (1, 4), quantized_data=np.array([[0, 1, 2, 255]], np.uint8),
        scale=np.float16(0.5), zero_point=np.uint8(1), axis=np.int32(0),
    )  # fmt: skip
    total = f.apply("add", (1, 4), x=f.apply("mul", (1, 4), x=x, y=blocks), y=palette)
    whole = f.apply("cast", (1, 4), "INT32", x=total, dtype=f.constant("int32"))
    joined = f.apply("concat", (1, 4), "INT32", values=[whole], axis=1)
    real = f.apply("cast", (1, 4), x=joined, dtype=f.constant("fp32"))
    f.returns(f.apply("add", (1, 4), x=real, y=old))
    found = evaluate(package, tmp_path, Arithmetic(), x=np.full((1, 4), 1.5, np.float32))
    weights, looked_up = np.array([-4, -0.5, 4, 14]), np.array([4, 1, 2, 3])
    wanted = np.trunc(1.5 * weights + looked_up) + np.array([-0.5, 0, 0.5, 127])
    assert found.tolist() == [wanted.tolist()]
    function = read_package(tmp_path / "p.mlpackage").functions["forward"]
    assert len(function.compressed) == 3
