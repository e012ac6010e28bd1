"""LPIPS: how different two images look to a network that was calibrated on people's judgements.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018,
as its authors' package ``lpips`` counts it: AlexNet, version 0.1. The package brings its own small
linear heads; the AlexNet below them is torchvision's, which the user gives as a file or which is
downloaded once. Neither file is unpickled.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import warnings
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpl_edge.errors import UserError, require
from cpl_edge.evaluate.metrics import FloatImage

if TYPE_CHECKING:
    from torch import Tensor

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""Torchvision's ``AlexNet_Weights.IMAGENET1K_V1``; the name ends as its SHA-256 begins."""
SMALLEST = 31
"""Pixels a side: of less, AlexNet's second pooling leaves nothing."""


class Lpips:
    """The distance of two images: 0 for equal ones, about 1 for unrelated ones; less is better.

    Attributes:
        about: what the figures depend on: network, version, name and SHA-256 of the weights.

    Args:
        weights: torchvision's AlexNet as ``.pth`` or ``.safetensors``; only its ``features.*`` are
            used. None takes the file that torchvision downloads, and downloads it where it is not
            there yet.
        threads: torch's threads, which belong to the process.

    Raises:
        UserError: the file is not such a file, or it cannot be downloaded.
        MissingExtra: the package ``lpips`` is not installed.
    """

    def __init__(self, weights: Path | None = None, threads: int = 1) -> None:
        if weights is not None and not weights.is_file():
            raise UserError(f"{weights} does not exist: --lpips-weights names a file of yours")
        lpips = require("lpips", extra="lpips")
        import torch

        torch.set_num_threads(threads)
        path = _downloaded() if weights is None else weights
        trunk = _read(path)
        with warnings.catch_warnings():  # the package names torchvision's arguments as of old
            warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
            # Random and not pretrained: the package would download and read by itself.
            self._network = lpips.LPIPS(net="alex", pnet_rand=True, pretrained=False, verbose=False)
        heads = _tensors(Path(lpips.__path__[0]) / "weights" / "v0.1" / "alex.pth")
        wrong = self._network.load_state_dict(heads, strict=False).unexpected_keys
        assert not wrong and len(heads) == 5, (wrong, list(heads))  # one head a layer, no more
        # The package cut torchvision's "features" into slices; the layers kept their numbers.
        slices = self._network.net.children()
        layers = OrderedDict(layer for part in slices for layer in part.named_children())
        try:
            torch.nn.Sequential(layers).load_state_dict(trunk, strict=True)
        except RuntimeError as error:
            raise UserError(
                f"{path} is not torchvision's AlexNet: give the file of {URL}, or its tensors as "
                ".safetensors"
            ) from error
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.about = {
            "network": "AlexNet",
            "version": "0.1",
            "weights": path.name,
            "sha256": digest,
        }

    def __call__(self, x_HWC: FloatImage, y_HWC: FloatImage) -> float:
        """The distance, mean over pixels, summed over AlexNet's five layers.

        Args:
            x_HWC: float32 RGB in [0, 1], sides of :data:`SMALLEST` pixels or more.
            y_HWC: the image to compare with, same shape.

        Raises:
            UserError: the images are too small.
        """
        import torch

        assert x_HWC.shape == y_HWC.shape and x_HWC.shape[2] == 3, (x_HWC.shape, y_HWC.shape)
        height, width = x_HWC.shape[:2]
        if min(height, width) < SMALLEST:
            raise UserError(
                f"an image of {width}x{height} pixels is too small for LPIPS: use images of at "
                f"least {SMALLEST} pixels a side, or leave --lpips out"
            )
        with torch.inference_mode():
            # "normalize" takes [0, 1] to the [-1, 1] that the network was calibrated with.
            return float(self._network(_batch(x_HWC), _batch(y_HWC), normalize=True))


def _batch(x_HWC: FloatImage) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(x_HWC)).permute(2, 0, 1)[None]


def _downloaded() -> Path:
    """Torchvision's own copy of :data:`URL`, downloaded where it is not there yet."""
    from torch import hub

    name = URL.rpartition("/")[2]
    path = Path(hub.get_dir()) / "checkpoints" / name
    if not path.exists():
        prefix = Path(name).stem.rpartition("-")[2]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(URL, str(path), prefix, progress=sys.stderr.isatty())
        except (OSError, RuntimeError, HTTPException) as error:  # no network or disk, wrong content
            reason = getattr(error, "reason", error)
            raise UserError(
                f"AlexNet for LPIPS cannot be downloaded ({reason}): fetch {URL} on another "
                "machine and name the file with --lpips-weights"
            ) from error
    return path


def _read(path: Path) -> dict[str, Any]:
    """An AlexNet's convolutions by their number and "weight" or "bias"."""
    try:
        state = _tensors(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is no state dict, or needs code to be read, which is refused: give the file "
            f"of {URL}"
        ) from error
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            TypeError, ValueError) as error:  # fmt: skip  # all seen on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}") from error
    # The classifier, nearly all of the file, is not needed; it may be missing.
    return {
        name.removeprefix("features."): value
        for name, value in state.items()
        if name.startswith("features.")
    }


def _tensors(path: Path) -> dict[str, Any]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on old files
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__} and no state dict")
    return {str(name): value for name, value in state.items()}
