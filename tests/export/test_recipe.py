import pytest

from cpl_edge.errors import UserError
from cpl_edge.export.recipe import ExportRecipe, parse_size, read_recipe, read_recipes
from cpl_edge.export.targets import TARGETS

GOOD = """
target = "onnx"
precision = "fp32"
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
    limits = read_recipe("coreml", precision="fp16").gate_limits
    assert (limits.parity_db, limits.residual_db) == (50, 40)
    assert (limits.drop_mean, limits.drop_worst) == (0.02, 0.1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("precision", "precison", "unknown key 'precison': did you mean 'precision'"),
        ("drop_mean", "drop_men", "unknown key 'limits.fp32.drop_men': did you mean 'drop_mean'"),
        ("target", "zzzzzz", "choose from target, precision"),
        ("max_abs = 1e-4", "", "limits.fp32: a limit of parity is missing: give max_abs"),
        ("0.99", "99", "limits.fp32.routing_agreement: Input should be less than or equal to 1"),
        ('"fp32"', '"fp32', "is not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_gets_one_line(tmp_path, old, new, message):
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_replace_values_and_are_checked(tmp_path):
    path = written(tmp_path, GOOD)
    recipe = read_recipe(path, routing="split", size=(64, 72), degradation=None)
    assert (recipe.routing, recipe.size, recipe.precision) == ("split", (64, 72), "fp32")
    with pytest.raises(UserError, match="routing: Input should be 'auto', 'split' or 'pinned'"):
        read_recipe(path, routing="manual")
    with pytest.raises(UserError, match=r"no limits for fp16: add a table \[limits.fp16\]"):
        assert read_recipe(path, precision="fp16").gate_limits


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
        ({"size": (512, 512)}, "s-onnx-fp32-auto-512"),
        ({"routing": "split", "size": (240, 320)}, "s-onnx-fp32-split-240x320"),
        ({"routing": "pinned", "degradation": "haze"}, "s-onnx-fp32-pinned-haze"),
    ],
)
def test_build_names(changes, name):
    recipe: ExportRecipe = read_recipe("onnx", **changes)
    assert recipe.build_name("s") == name
