"""Where in the student an operator is."""

import pytest

from cpl_edge.profile.places import (
    Anchor,
    Place,
    block_of,
    kind_of,
    module_from_path,
    modules_by_order,
    place,
)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("Convolution (NHWC, F32) IGEMM", "conv"),
        ("Convolution (NHWC, QC8) IGEMM", "conv"),
        ("CONV_2D", "conv"),
        ("QLinearConv", "conv"),
        ("aten::conv2d", "conv"),
        ("ios16.conv", "conv"),
        ("Deconvolution (NC, QS8, QC8W) Subconv2D", "deconv"),
        ("TRANSPOSE_CONV", "deconv"),
        ("ConvTranspose", "deconv"),
        ("Fully Connected (NC, F32) GEMM", "linear"),
        ("FULLY_CONNECTED", "linear"),
        ("FusedGemm", "linear"),
        ("aten::matmul", "linear"),
        ("Convert (NC)", "other"),
        ("Transpose (ND, X32)", "other"),
        ("Multiply (ND)", "other"),
        ("DepthToSpace", "other"),
    ],
)
def test_kinds_in_the_words_of_all_runtimes(operator, kind):
    assert kind_of(operator) == kind


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("restore.lowered.encoder.0.expand.weight", "encoder.0.expand"),
        ("lowered.middle.1.scale.bias", "middle.1.scale"),
        ("decoder.3.shift_NC", "decoder.3.shift"),
        ("restore.lowered.router.first.weight", "router.conv1"),
        ("router.head.weight", "router.head"),
        ("restore.lowered.head.weight", "head"),
        ("up.0.weight", "up"),
        ("tail", "tail"),
        ("encoder.1", "encoder.1"),
        ("val_14", "unknown"),
    ],
)
def test_paths_in_files_and_in_torch(path, module):
    assert module_from_path(path) == module


def test_coordinates():
    assert place("encoder.0.scale") == Place("half", "encoder.0", "encoder.0")
    assert place("middle.1.expand") == Place("quarter", "middle.1", None)
    assert place("router.conv1") == Place("router", None, None)
    assert place("down") == Place("quarter", None, None)
    assert place("unknown") == Place("unknown", None, None)
    assert block_of("encoder.0.expand") == "encoder.0"
    assert block_of("router.hidden") == "router"
    assert block_of("tail") == "tail"


def anchors(letters, channels=None):
    kinds = {"C": "conv", "T": "deconv", "F": "linear"}
    told = channels or [None] * len(letters)
    return [Anchor(kinds[letter], c) for letter, c in zip(letters, told, strict=True)]


@pytest.mark.parametrize("body", ["FFCC", "FCFC"])
@pytest.mark.parametrize("router", ["", "CCFF"])
@pytest.mark.parametrize(("up", "tail"), [("C", "C"), ("T", "CT"), ("F", "C")])
def test_a_student_is_known_by_its_order(router, body, up, tail):
    found = modules_by_order(anchors(f"{router}C{body}C{body * 2}{up}{body}{tail}"))
    assert found is not None
    rest = found[len(router) :]
    assert rest[0] == "head"
    assert [m for m in rest if "." not in m] == ["head", "down", "up", *["tail"] * len(tail)]
    assert {m.rpartition(".")[0] for m in rest if "." in m} == {
        "encoder.0",
        "middle.0",
        "middle.1",
        "decoder.0",
    }
    expected = {"F": {"scale", "shift"}, "C": {"expand", "project"}}
    for letter, module in zip(f"C{body}", rest[:5], strict=True):
        assert module == "head" or module.rpartition(".")[2] in expected[letter]


def test_a_router_alone():
    assert modules_by_order(anchors("CCFF"))[0] == "router.conv1"


def test_plain_blocks_need_their_channels():
    letters = "C" + "CC" + "C" + "CCCC" + "T" + "CC" + "CT"
    assert modules_by_order(anchors(letters)) is None  # fits in several ways
    half, quarter = (8, 8), (16, 16)
    channels = [(3, 8), half, half, (8, 16), *[quarter] * 4, (16, 8), half, half, (8, 12), (12, 3)]
    found = modules_by_order(anchors(letters, channels))
    assert found[:4] == ["head", "encoder.0.expand", "encoder.0.project", "down"]
    assert found[-3:] == ["decoder.0.project", "tail", "tail"]


@pytest.mark.parametrize("letters", ["", "C", "F", "CCFFC", "CFFCCFC", "TTTT"])
def test_what_is_no_student_stays_unknown(letters):
    assert modules_by_order(anchors(letters)) is None
