import pytest

from cpl_edge.errors import UserError
from cpl_edge.quantize.recipe import KIND, kept_in_float, read_quantize_recipe
from cpl_edge.shipped import shipped_names

GOOD = """
target = "litert"
precision = "w8a8"
weights = "int8"
activations = "int8"
keep_float = ["head"]
[calibration]
crops = 2
"""


def test_shipped_recipes_are_named_after_what_they_make():
    names = shipped_names(KIND, ".toml")
    assert "litert-w8a8" in names
    for name in names:
        recipe = read_quantize_recipe(name)
        assert name.removesuffix("-qat") == f"{recipe.target}-{recipe.precision}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep_float", "keep_flot", "unknown key 'keep_flot': did you mean 'keep_float'"),
        ("crops = 2", "crop = 2", "unknown key 'calibration.crop': did you mean 'crops'"),
        ("crops = 2", "crops = 0", "calibration.crops: Input should be greater than or equal to 1"),
        ('"litert"', '"litrt"', "no target 'litrt': did you mean 'litert'?"),
        ('"w8a8"', '"w8a9"', "no precision 'w8a9': did you mean 'w8a8'?"),
        ('"w8a8"', '"p4"', "litert does not do p4: only Core ML reads palettes of weights"),
        (
            '"int8"\nkeep',
            '"float"\nbias_correction = true\nkeep',
            "needs crops to measure errors on",
        ),
        (
            "keep_float",
            "bias_correction = true\none_sided = true\nkeep_float",
            "exclude each other",
        ),
        ('weights = "int8"', 'weights = "int4"', "weights: Input should be 'fp16', 'int8'"),
        ('"litert"', '"litert', "is not TOML"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_quantize_recipe(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_patterns_find_modules(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('["head"]', '["encoder.*.expand", "tail"]'))
    recipe = read_quantize_recipe(str(path))
    modules = ["head", "encoder.0.expand", "encoder.1.expand", "encoder.1.project", "tail"]
    assert kept_in_float(recipe, modules) == ["encoder.0.expand", "encoder.1.expand", "tail"]


def test_a_pattern_that_matches_nothing_is_a_mistake(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('"head"', '"haed"'))
    with pytest.raises(UserError, match=r"keep_float 'haed' matches no module: did you mean 'head"):
        kept_in_float(read_quantize_recipe(str(path)), ["head", "tail"])
