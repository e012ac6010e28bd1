"""Routing once per photo: what the router says about crops of it, and the weights that follow.

A router that looked at each tile alone would select different prompts for neighbouring tiles. So
it sees crops at the photo's own resolution, its logits are averaged, and every tile gets the same
weights. Legend: D degradations, M levels, N = D * M prompts, S routed sites, L = D + N.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def crop_origins(photo: tuple[int, ...], crop: tuple[int, int], most: int) -> list[tuple[int, int]]:
    """Spread crops over a photo in a grid, as square as its shape allows.

    Args:
        photo: rows and columns of the photo.
        crop: rows and columns of a crop.
        most: how many crops at most; a photo that fewer cover gets fewer.

    Returns:
        (top, left) of each; (0, ...) along an axis shorter than the crop, which is then padded.
    """
    fit_rows, fit_columns = (-(-size // side) for size, side in zip(photo, crop, strict=True))
    side = int(most**0.5)
    rows = min(side, fit_rows)
    columns = min(most // rows, fit_columns)
    rows = min(most // columns, fit_rows)  # what the other axis left
    return [
        (top, left)
        for top in _spread(photo[0] - crop[0], rows)
        for left in _spread(photo[1] - crop[1], columns)
    ]


def _spread(last: int, count: int) -> list[int]:
    if last <= 0:
        return [0]
    if count == 1:
        return [last // 2]
    return [round(i * last / (count - 1)) for i in range(count)]


def select(logits_SL: FloatArray, degradations: int, levels: int) -> FloatArray:
    """Sparse weights of the degradation with the largest logit: ``Student.select`` in NumPy.

    Args:
        logits_SL: router outputs, any leading axes: D for the degradations, then M of each.
        degradations: D.
        levels: M.

    Returns:
        ``w_SN``, float32: the selected degradation's levels by softmax, all else exactly 0. Of
        equal logits the first wins; closer than 1e-6 they are mixed, as the student does.
    """
    logits_SL = logits_SL.astype(np.float32)
    top_SD = logits_SL[..., :degradations]
    # A step instead of a comparison, as in the student: that has to agree even near ties.
    is_top_SD = np.clip(
        (top_SD - top_SD.max(-1, keepdims=True)) * np.float32(1e6) + np.float32(1), 0, 1
    )
    weights_SDM = _levels(logits_SL, degradations, levels)
    free_S = np.ones_like(is_top_SD[..., 0])
    for i in range(degradations):
        share_S = is_top_SD[..., i] * free_S
        free_S = free_S - share_S
        weights_SDM[..., i, :] *= share_S[..., None]
    return weights_SDM.reshape(*logits_SL.shape[:-1], degradations * levels)


def forced(logits_SL: FloatArray, degradations: int, levels: int, index: int) -> FloatArray:
    """Weights of a degradation chosen by hand; its levels by the router (``Student.forced``).

    Args:
        logits_SL: router outputs.
        degradations: D.
        levels: M.
        index: of the degradation.

    Returns:
        ``w_SN``, float32.
    """
    weights_SDM = _levels(logits_SL.astype(np.float32), degradations, levels)
    weights_SDM *= (np.arange(degradations) == index)[:, None]
    return weights_SDM.reshape(*logits_SL.shape[:-1], degradations * levels)


def probabilities(logits_SL: FloatArray, degradations: int) -> FloatArray:
    """How sure the router is: softmax over the D degradations, mean over the sites."""
    p_SD = _softmax(logits_SL[..., :degradations].astype(np.float32))
    mean_D: FloatArray = p_SD.reshape(-1, degradations).mean(0)
    return mean_D


def _levels(logits_SL: FloatArray, degradations: int, levels: int) -> FloatArray:
    shape = (*logits_SL.shape[:-1], degradations, levels)
    return _softmax(logits_SL[..., degradations:].reshape(shape))


def _softmax(x: FloatArray) -> FloatArray:
    e: FloatArray = np.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e
