"""Core ML: convolution weights become 8-bit integers or palettes, by coremltools.optimize.

Only weights: activations stay fp16, and so do the layers that make scales and shifts of a prompt
(together below 1 % of the size, and each error there moves a whole channel). The router stays as it
was converted. An operator ``constexpr_*`` restores the weights when the program is loaded or run.

A palette holds the 16, 64 or 256 values that the weights of a convolution, or of a group of its
output channels, are rounded to. They are found by the exact k-means on a line that coremltools
brings; its palettizer takes it for large tensors only and else asks for scikit-learn.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from cpl_edge.quantize.recipe import QuantizeRecipe

_PARAMETER = re.compile(r"lowered_(?P<module>\w+?)(_[01])?_weight(_to_fp16)?")


def compress(model: Any, recipe: QuantizeRecipe, kept: list[str]) -> Any:
    """Compress the weights of a converted model.

    Args:
        model: an ``MLModel`` with one function, of a lowered student.
        recipe: of this target.
        kept: sites whose weights stay as they are.

    Returns:
        A new ``MLModel``.
    """
    import coremltools.optimize.coreml as optimize

    names = [name for name in _weights(model) if site(name) not in (None, *kept)]
    how: Any
    if recipe.weights == "int8":
        how = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
        run = optimize.linear_quantize_weights
    else:
        bits = palette_bits(recipe.weights)
        how = optimize.OpPalettizerConfig(
            mode="custom",
            lut_function=lambda weights: palette(weights, bits),
            granularity="per_grouped_channel" if recipe.group else "per_tensor",
            group_size=recipe.group or 1,
            weight_threshold=0,
        )
        run = optimize.palettize_weights
    return run(model, optimize.OptimizationConfig(op_name_configs=dict.fromkeys(names, how)))


def site(name: str) -> str | None:
    """The site of a convolution's weights by their name in a program, None in the router.

    ``lowered_encoder_0_expand_weight_to_fp16`` is ``encoder.0.expand``, and
    ``lowered_tail_0_weight`` is ``tail``: it stands in a sequence with its shuffle.
    """
    match = _PARAMETER.fullmatch(name)
    if match is None or match["module"].startswith("router"):
        return None
    return match["module"].replace("_", ".")


def palette_bits(weights: str) -> int:
    """Bits of an index into a palette: 4 for ``palette4``."""
    return int(weights.removeprefix("palette"))


def palette(weights: npt.NDArray[Any], bits: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Round weights to ``2**bits`` values with the smallest squared error.

    Args:
        weights: of any shape.
        bits: 8 at most.

    Returns:
        The values in the type of the weights, and an index for each weight in row-major order.
    """
    return _clustered(np.ascontiguousarray(weights).tobytes(), weights.dtype.str, bits)


@functools.cache  # the functions of a package hold the same weights
def _clustered(
    data: bytes, dtype: str, bits: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    from coremltools.models.neural_network import quantization_utils

    values, indices = quantization_utils._get_kmeans_lookup_table_and_weight(
        bits, np.frombuffer(data, dtype), force_kmeans1d=True
    )
    return values.astype(dtype), indices.astype(np.uint8)


def _weights(model: Any) -> list[str]:
    """Names of the weights of all convolutions."""
    (function,) = model._mil_program.functions.values()
    return [op.inputs["weight"].op.name for op in function.find_ops(op_type="conv")]
