"""Which target does which precision, and why not: the one table that everything asks."""

from __future__ import annotations

from typing import Literal

Observer = Literal["minmax", "percentile", "crops", "mse"]
"""How ranges of activations are found, see `cpl_edge.quantize.ranges`."""

PRECISIONS = ("fp32", "fp16", "w8", "p8", "p6", "p4", "dynamic", "w8a8", "w8a16", "mixed")
"""Words for precisions: w weights, p palettes of weights, a activations, with their bits.

``dynamic`` is LiteRT's dynamic range: int8 convolutions of inputs that are rounded when they are
known, float32 between them. ``mixed`` is w8a8 with some modules in float.
"""

_PALETTES = ("p8", "p6", "p4")
_NO_PALETTES = "only Core ML reads palettes of weights; nearest: --precision "

SUPPORT: dict[str, dict[str, str]] = {
    "executorch": {
        "fp32": "",
        "fp16": (
            "XNNPACK keeps convolution weights in fp32 whatever the program says, so fp16 "
            "would save nothing; nearest: --precision dynamic"
        ),
        "w8": (
            "XNNPACK runs convolutions with int8 weights on int8 activations only; "
            "nearest: --precision dynamic"
        ),
        **dict.fromkeys(_PALETTES, _NO_PALETTES + "dynamic"),
        "dynamic": "",
        "w8a8": "",
        "w8a16": "XNNPACK has no kernels for 16-bit activations; nearest: --precision dynamic",
        "mixed": "",
    },
    "coreml": {
        "fp32": "",
        "fp16": "",
        "w8": "",
        "p8": "",
        "p6": "",
        "p4": "",
        "dynamic": (
            "Core ML fixes the ranges of activations when it converts; nearest: --precision w8a8"
        ),
        "w8a8": "",
        "w8a16": "Core ML has no 16-bit integer activations; nearest: --precision w8a8",
        "mixed": (
            "name the modules that stay in fp16 in keep_float of a w8a8 or w8 recipe; "
            "nearest: --precision w8a8"
        ),
    },
    "litert": {
        "fp32": "",
        "fp16": "",
        "w8": "",
        **dict.fromkeys(_PALETTES, _NO_PALETTES + "w8"),
        "dynamic": "",
        "w8a8": "",
        "w8a16": "",
        "mixed": "",
    },
    "onnx": {
        "fp32": "",
        "fp16": (
            "ONNX Runtime's CPU provider computes most operators in fp32 only and would "
            "convert back and forth; nearest: --precision w8a8"
        ),
        "w8": (
            "ONNX Runtime's CPU provider turns int8 weights back into fp32 when it loads; "
            "nearest: --precision w8a8"
        ),
        **dict.fromkeys(_PALETTES, _NO_PALETTES + "w8a8"),
        "dynamic": (
            "ONNX Runtime's integer convolution of dynamic ranges takes ten times as long as its "
            "fp32 convolution (student s, measured); nearest: --precision mixed"
        ),
        "w8a8": "",
        "w8a16": (
            "ONNX Runtime's CPU provider has no convolution with 16-bit activations; "
            "nearest: --precision w8a8"
        ),
        "mixed": "",
    },
}
"""Target -> precision -> "" if it is supported, else why not and what is nearest."""

REMARKS: dict[tuple[str, str], str] = {
    ("coreml", "w8a8"): (
        "int8 activations pay on the Neural Engine of A17 Pro, M4 and later; not measured there"
    ),
    ("litert", "dynamic"): "for CPUs; what a GPU delegate makes of it was not measured",
    ("litert", "w8a16"): "closest to float, slow on CPUs",
}
"""What is supported, but not good for everything: target and precision -> what to know."""
