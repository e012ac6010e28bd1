import json
from dataclasses import replace

import pytest

from cpl_edge.errors import UserError
from cpl_edge.runtimes.info import ModelInfo, restorer


@pytest.fixture
def values(toys):
    return json.loads(toys.INFO.to_json())


def test_a_description_survives_its_json(toys):
    assert ModelInfo.from_json(toys.INFO.to_json(), "m.tflite") == toys.INFO
    assert toys.INFO.prompts == 4


def test_the_json_holds_what_the_format_promises(values):
    assert values["format"] == 1
    assert set(values) == {
        "format", "student", "target", "precision", "routing", "pinned", "height", "width",
        "channels", "range", "layout", "halo", "multiple", "degradations", "levels", "sites",
        "entry_points", "digest", "versions", "own",
    }  # fmt: skip
    assert values["range"] == [0.0, 1.0] and values["channels"] == "RGB"


def test_files_that_are_older_than_own_have_none(toys, values):
    del values["own"]
    assert ModelInfo.from_json(json.dumps(values), "m") == toys.INFO
    assert not toys.INFO.own


def test_where_degradations_own_convolutions_restore_is_a_function_for_each(toys):
    assert toys.INFO.functions == {name: name for name in ("forward", "route", "restore")}
    own = replace(toys.INFO, own=True, routing="split", entry_points=("route", "restore"))
    assert own.functions == {
        "route": "route",
        "restore_noise": "restore",
        "restore_rain": "restore",
    }
    assert restorer("rain") == "restore_rain"
    assert ModelInfo.from_json(own.to_json(), "m") == own


def test_later_additions_are_ignored(toys, values):
    assert ModelInfo.from_json(json.dumps(values | {"mood": "good"}), "m") == toys.INFO


def test_range_may_be_written_as_integers(toys, values):
    assert ModelInfo.from_json(json.dumps(values | {"range": [0, 1]}), "m") == toys.INFO


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "does not describe itself"),
        ("{", "is no JSON"),
        ("[1]", "version None"),
        ('{"format": 7}', "version 7 and this product reads version 1"),
        ('{"format": 1}', "lacks channels, degradations, digest"),
    ],
)
def test_what_is_no_description_is_refused(text, reason):
    with pytest.raises(UserError, match=reason) as caught:
        ModelInfo.from_json(text, "m.onnx")
    assert str(caught.value).startswith("m.onnx") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"student": None}, "no text for student"),
        ({"height": 0}, "height 0"),
        ({"width": "256"}, "width '256'"),
        ({"levels": True}, "levels True"),
        ({"halo": -1}, "halo -1"),
        ({"multiple": 5}, "no multiple of its own multiple"),
        ({"routing": "magic"}, "'magic' instead of auto or split or told or pinned"),
        ({"layout": "CHWN"}, "'CHWN' instead of NCHW or NHWC"),
        ({"degradations": ["noise"]}, "degradations"),
        ({"degradations": "noise"}, "degradations"),
        ({"pinned": "snow"}, "pinned 'snow'"),
        ({"entry_points": []}, "entry points"),
        ({"entry_points": ["forward", "dance"]}, "entry points"),
        ({"routing": "split", "entry_points": ["route"]}, "'restore' that its routing needs"),
        ({"routing": "pinned", "entry_points": ["route"]}, "'forward' that its routing needs"),
        ({"channels": "BGR"}, "not RGB"),
        ({"range": [0, 255]}, r"not RGB in \[0, 1\]"),
        ({"versions": None}, "versions"),
        *[({"own": own}, f"own {own!r} instead of true or false") for own in (1, "yes", None)],
    ],
    ids=str,
)
def test_damaged_descriptions_say_what_is_wrong(values, change, reason):
    with pytest.raises(UserError, match=reason):
        ModelInfo.from_json(json.dumps(values | change), "m")
