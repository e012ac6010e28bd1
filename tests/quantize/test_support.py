from cpl_edge.quantize.recipe import KIND
from cpl_edge.quantize.support import PRECISIONS, REMARKS, SUPPORT
from cpl_edge.shipped import shipped_names


def test_every_pair_is_supported_or_has_a_reason_with_what_is_nearest():
    for target, precisions in SUPPORT.items():
        assert list(precisions) == list(PRECISIONS), target
        for reason in filter(None, precisions.values()):
            nearest = reason.rpartition("nearest: --precision ")[2]
            assert precisions[nearest] == "", reason


def test_whatever_is_supported_has_a_recipe():
    names = set(shipped_names(KIND, ".toml"))
    converted = {"fp32"}  # by the converter itself
    for target, precisions in SUPPORT.items():
        supported = {precision for precision, reason in precisions.items() if not reason}
        made = supported - converted - ({"fp16"} if target == "coreml" else set())
        assert {f"{target}-{precision}" for precision in made} <= names


def test_remarks_are_about_what_is_supported():
    for target, precision in REMARKS:
        assert SUPPORT[target][precision] == ""
    assert "A17 Pro" in REMARKS["coreml", "w8a8"]
