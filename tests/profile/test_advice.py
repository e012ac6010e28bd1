"""Reasons and rewrites of what an accelerator leaves."""

import pytest

from cpl_edge.profile.advice import outside_of, why
from cpl_edge.profile.schema import Row


@pytest.mark.parametrize(
    ("operator", "accelerator", "reason", "rewrite"),
    [
        ("TOPK_V2", "XNNPACK", "XNNPACK has no top-k", "maximum"),
        ("topk.values", "XNNPACK", "XNNPACK has no top-k", "maximum"),
        ("ios16.topk", "Neural Engine", "Neural Engine has no top-k", "maximum"),
        ("GATHER_ND", "GPU", "refuses the file", "sparse vector"),
        ("aten::mean.out", "XNNPACK", "height and width", "split_mean"),
        ("aten::permute_copy.out", "XNNPACK", "memory order", "layout"),
        ("TRANSPOSE_CONV", "GPU", "dynamic shape", "fix the shapes"),
        ("TRANSPOSE", "GPU", "memory order", "layout"),
        ("pixel_shuffle", "Neural Engine", "six-dimensional", "fold"),
        ("RELU_0_TO_1", "XNNPACK", "not delegated", "never positive"),
        ("CONV_2D", "XNNPACK", "refused", "per-channel"),
    ],
)
def test_known_operators(operator, accelerator, reason, rewrite):
    told = why(operator, accelerator)
    assert reason in told[0] and rewrite in told[1]


def test_nothing_is_made_up():
    assert why("FROBNICATE", "XNNPACK")[0].startswith("not among")


def test_the_slowest_comes_first_and_equal_ones_are_one():
    def row(operator, delegate, us, module="head"):
        return Row(
            entry="forward", name="n", operator=operator, delegate=delegate, microseconds=us,
            module=module,
        )  # fmt: skip

    rows = [
        row("CONV_2D", "XNNPACK", 90),
        row("TOPK_V2", "CPU", 5),
        row("GATHER", "CPU", 20, "router"),
        row("GATHER", "CPU", 30),
    ]
    first, second = outside_of(rows, "XNNPACK")
    assert (first.operator, first.count, first.microseconds) == ("GATHER", 2, 50)
    assert first.module == "head, router" and second.operator == "TOPK_V2"
    assert outside_of(rows, None) == ()
