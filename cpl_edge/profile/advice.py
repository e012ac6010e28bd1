"""Why an accelerator leaves an operator, and the rewrite that would help.

Reasons were read in the projects' sources or met in exports of this product's students
(`cpl_edge.export.lowering` has the rewrites, each tested against what it replaces).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cpl_edge.profile.schema import Outside, Row

_ANY = ""
# Operator (a pattern on its name in small letters) -> accelerator, or any -> reason; rewrite.
_RULES: tuple[tuple[str, dict[str, str], str], ...] = (
    (
        r"top_?k|arg_?max|arg_?sort",
        {
            "XNNPACK": "XNNPACK has no top-k, so it splits the graph",
            "Neural Engine": "the Neural Engine has no top-k",
            _ANY: "most accelerators have no top-k; LiteRT's GPU delegate refuses the file",
        },
        "select the top-1 by arithmetic: a chain of maximum, and a ReLU of the difference "
        "(export.lowering.LoweredRouter.select)",
    ),
    (
        r"gather|scatter|index|embedding",
        {_ANY: "gather and scatter are not delegated; LiteRT's GPU delegate refuses the file"},
        "weigh with a sparse vector and a linear layer instead; pad outside the graph, since "
        "reflect padding becomes a gather",
    ),
    (
        r"mean|reduce",
        {
            "XNNPACK": "ExecuTorch delegates a mean over height and width with keepdim only",
            _ANY: "a mean over two axes can be NaN on LiteRT's GPU, and overflow in fp16",
        },
        "mean((2, 3), keepdim=True); a mean over channels is a 1x1 convolution of 1/C; for a GPU "
        "one axis at a time (Swaps.split_mean)",
    ),
    (
        r"pixel_?(un)?shuffle|depth_?to_?space|space_?to_?depth",
        {_ANY: "pixel shuffles become six-dimensional reshapes, which are copied outside"},
        "fold it into the convolution behind it (Swaps.fold_unshuffle), or use the target's own "
        "operator (LiteRT: Swaps.one_hot_shuffle)",
    ),
    (
        r"permute|transpose(?!.?conv)|as_strided",
        {_ANY: "a change of memory order between partitions, or a pixel shuffle taken apart"},
        "keep one layout through the graph and fold pixel shuffles into convolutions",
    ),
    (
        r"view|reshape|squeeze|expand_copy|clone|alias|copy|flatten",
        {_ANY: "a reshape or copy at the border of a partition; it has no arithmetic"},
        "use view(1, -1, 1, 1) instead of indexing with None, and keep shapes static",
    ),
    (
        r"nearest",
        {"XNNPACK": "nearest upsampling is not delegated", _ANY: "not taken here"},
        "a 1x1 convolution and pixel shuffle, or a transposed convolution of ones",
    ),
    (
        r"bilinear|resize|interpolate|upsample",
        {
            "XNNPACK": "only fp32 and static sizes are delegated",
            _ANY: "only static sizes; align_corners is refused on LiteRT's GPU",
        },
        "fix the size at export, or fold a resized constant into it",
    ),
    (
        r"slice|split|chunk",
        {
            "XNNPACK": "only slices of stride 1 and static size; a quantised slice may not change "
            "scale",
            _ANY: "split is refused by LiteRT's GPU delegate",
        },
        "two convolutions instead of one whose channels are cut apart",
    ),
    (
        r"softmax",
        {"XNNPACK": "only fp32 softmax over the last axis is delegated", _ANY: "not taken here"},
        "put the axis last, and keep the router in float",
    ),
    (r"gelu|erf", {_ANY: "erf is refused by GPU delegates and fp32 only in XNNPACK"}, "use ReLU"),
    (
        r"relu_?0_?to_?1|clamp|clip",
        {"XNNPACK": "RELU_0_TO_1 is not delegated", _ANY: "not taken here"},
        "a ReLU of a difference that is never positive (export.lowering.LoweredRouter)",
    ),
    (
        r"quantize|cast|to_copy|convert",
        {_ANY: "a change of number type at the border between float and quantised parts"},
        "keep neighbouring layers in one precision (quantize/ lists what is kept in float)",
    ),
    (
        r"layer_?norm|rsqrt|sqrt|norm",
        {_ANY: "a norm over channels is not delegated as one, and its sum overflows in fp16"},
        "leave norms out of the student, or fold them into 1x1 convolutions with a scale ahead",
    ),
    (
        r"pad",
        {_ANY: "padding of its own; reflect padding becomes a gather"},
        "zero padding inside the convolution; reflect padding outside the graph",
    ),
    (
        r"if|while|loop|where|select",
        {_ANY: "control flow and selection stay on the CPU"},
        "plain arithmetic with a factor that is 0 or 1",
    ),
    (
        r"conv|linear|gemm|matmul|fully",
        {
            "Neural Engine": "a small layer for which the planner reckoned another device faster",
            "XNNPACK": "a convolution or linear layer whose numbers the delegate refused: dynamic "
            "shape, or quantisation that it lacks",
            _ANY: "dynamic shape, or a number type that the accelerator lacks",
        },
        "fix the shapes; per-channel weights and per-tensor activations in int8",
    ),
)
_UNKNOWN = (
    "not among the operators whose reasons are known here",
    "see what the accelerator supports, and write to the project's issues",
)


def why(operator: str, accelerator: str) -> tuple[str, str]:
    """Reason and rewrite for an operator that an accelerator left.

    Args:
        operator: the runtime's word, e.g. ``aten::topk`` or ``GATHER_ND``.
        accelerator: e.g. ``XNNPACK``, ``Neural Engine``.

    Returns:
        Both, or that they are not known: nothing is made up.
    """
    word = re.split(r"::|/", operator.lower())[-1].removesuffix(".out")
    for pattern, reasons, rewrite in _RULES:
        if re.search(rf"(^|[^a-z])({pattern})", word):
            near = [reason for name, reason in reasons.items() if name and name in accelerator]
            return (near or [reasons.get(_ANY, "not taken here")])[0], rewrite
    return _UNKNOWN


def outside_of(rows: Iterable[Row], accelerator: str | None) -> tuple[Outside, ...]:
    """The rows that did not run on the accelerator, one entry for each operator.

    Args:
        rows: of one profile.
        accelerator: name of the delegate that should have taken all of them, or None if none was
            asked for.

    Returns:
        The slowest first; empty if nothing was left or nothing asked for.
    """
    if accelerator is None:
        return ()
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.delegate != accelerator:
            groups.setdefault((row.entry, row.operator, row.delegate), []).append(row)
    found = []
    for (entry, operator, ran_on), own in groups.items():
        times = [row.microseconds for row in own if row.microseconds is not None]
        reason, rewrite = why(operator, accelerator)
        found.append(
            Outside(
                entry=entry,
                operator=operator,
                module=", ".join(sorted({row.module for row in own})),
                ran_on=ran_on,
                count=len(own),
                microseconds=sum(times) if times else None,
                reason=reason,
                rewrite=rewrite,
            )
        )
    return tuple(sorted(found, key=lambda o: -(o.microseconds or 0)))
