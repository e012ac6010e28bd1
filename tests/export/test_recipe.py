import pytest

from cpl_edge.errors import UserError
from cpl_edge.export.recipe import parse_size, read_recipes
from cpl_edge.export.targets import TARGETS

GOOD = """
target = "onnx"
precision = "fp32"
routing = "auto"
[limits.fp32]
max_abs = 1e-4
drop_mean = 0.01
drop_worst = 0.02
routing_agreement = 0.99
"""


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_every_target_has_a_recipe_of_its_name():
    assert [recipe.target for recipe in read_recipes("all")] == sorted(TARGETS)
    for recipe in read_recipes("all"):
        assert recipe.gate_limits.outside == 0
        assert recipe.limits["fp32"].max_abs == 1e-4


def test_core_ml_in_fp16_keeps_the_limits_of_the_design():
    (recipe,) = read_recipes("coreml", precision="fp16")
    limits = recipe.gate_limits
    assert (limits.parity_db, limits.residual_db) == (50, 40)
    assert (limits.drop_mean, limits.drop_worst) == (0.02, 0.1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("routing =", "rooting =", "unknown key 'rooting': did you mean 'routing'"),
        ("max_abs", "max_ab", "unknown key 'limits.fp32.max_ab': did you mean 'max_abs'"),
        ("routing =", "zzzzzz =", "choose from target, precision"),
        ("drop_mean = 0.01", "", "limits.fp32.drop_mean: Field required"),
        ("max_abs = 1e-4", "", "limits.fp32: a limit of parity is missing: give max_abs"),
        ("0.99", "99", "limits.fp32.routing_agreement: Input should be less than or equal to 1"),
        ('"fp32"', '"fp32', "is not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_gets_one_line(tmp_path, old, new, message):
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_recipes(None, path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_replace_values_and_are_checked(tmp_path):
    path = written(tmp_path, GOOD)
    (recipe,) = read_recipes(None, path, routing="split", size="64x72")
    assert (recipe.routing, recipe.size, recipe.precision) == ("split", (64, 72), "fp32")
    with pytest.raises(UserError, match="no routing 'splt': did you mean 'split'"):
        read_recipes(None, path, routing="splt")
    (recipe,) = read_recipes(None, path, precision="fp16")
    with pytest.raises(UserError, match=r"no limits for fp16: add a table \[limits.fp16\]"):
        assert recipe.gate_limits


@pytest.mark.parametrize(
    ("target", "recipe", "message"),
    [
        ("litrt", None, "no target 'litrt': did you mean 'litert'?"),
        (None, None, "no target given: choose from coreml, executorch, litert, onnx, all"),
        ("litert", "GOOD", "is for onnx: leave --target litert out"),
        (None, "missing.toml", "missing.toml does not exist"),
    ],
)
def test_what_to_export_must_be_clear(tmp_path, target, recipe, message):
    recipe = written(tmp_path, GOOD) if recipe == "GOOD" else recipe
    with pytest.raises(UserError) as caught:
        read_recipes(target, recipe)
    assert message in str(caught.value)


def test_a_recipe_file_needs_no_target(tmp_path):
    (recipe,) = read_recipes(None, written(tmp_path, GOOD), size="128")
    assert (recipe.target, recipe.size) == ("onnx", (128, 128))


@pytest.mark.parametrize(
    ("text", "size"), [("256", (256, 256)), ("240x320", (240, 320)), (" 64X72 ", (64, 72))]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "-4", "64x", "64x64x3", "1.5"])
def test_what_is_no_size(text):
    with pytest.raises(UserError, match="is no size: give 256, or height x width"):
        parse_size(text)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "s-onnx-fp32-auto"),
        ({"size": "512"}, "s-onnx-fp32-auto-512"),
        ({"routing": "split", "size": "240x320"}, "s-onnx-fp32-split-240x320"),
        ({"routing": "pinned", "degradation": "haze"}, "s-onnx-fp32-pinned-haze"),
    ],
)
def test_build_names(changes, name):
    (recipe,) = read_recipes("onnx", **changes)
    assert recipe.build_name("s") == name
