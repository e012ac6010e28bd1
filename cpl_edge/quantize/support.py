"""Which target does which precision, and why not: the one table that everything asks."""

from __future__ import annotations

from typing import Literal

Observer = Literal["minmax", "percentile", "crops", "mse"]
"""How ranges of activations are found, see `cpl_edge.quantize.ranges`."""

PRECISIONS = ("fp32", "fp16", "w8", "p8", "p6", "p4", "w8a8", "w8a16", "mixed")
"""Words for precisions: w weights, p palettes of weights, a activations, with their bits."""

_PALETTES = ("p8", "p6", "p4")
_NO_PALETTES = "only Core ML reads palettes of weights; nearest: --precision "

SUPPORT: dict[str, dict[str, str]] = {
    "executorch": {
        "fp32": "",
        "fp16": (
            "XNNPACK keeps convolution weights in fp32 whatever the program says, so fp16 "
            "would save nothing; nearest: --precision w8a8"
        ),
        "w8": (
            "XNNPACK runs convolutions with int8 weights on int8 activations only; "
            "nearest: --precision w8a8"
        ),
        **dict.fromkeys(_PALETTES, _NO_PALETTES + "w8a8"),
        "w8a8": "",
        "w8a16": "XNNPACK has no kernels for 16-bit activations; nearest: --precision w8a8",
        "mixed": "",
    },
    "coreml": {
        "fp32": "",
        "fp16": "",
        "w8": "",
        "p8": "",
        "p6": "",
        "p4": "",
        "w8a8": (
            "int8 activations pay from A17 Pro and M4 on, and calibrating them needs macOS; "
            "nearest: --precision w8"
        ),
        "w8a16": "Core ML has no 16-bit integer activations; nearest: --precision w8",
        "mixed": (
            "only weights could be mixed: name modules in keep_float of a w8 recipe; "
            "nearest: --precision w8"
        ),
    },
    "litert": {
        "fp32": "",
        "fp16": "",
        "w8": "",
        **dict.fromkeys(_PALETTES, _NO_PALETTES + "w8"),
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
        "w8a8": "",
        "w8a16": (
            "ONNX Runtime's CPU provider has no convolution with 16-bit activations; "
            "nearest: --precision w8a8"
        ),
        "mixed": "",
    },
}
"""Target -> precision -> "" if it is supported, else why not and what is nearest."""
