"""A bank of training images on the training device: crops without worker processes or decoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from cpl_edge.cli import track
from cpl_edge.data.crops import draw, window_index
from cpl_edge.data.degradations import degrade, uniform
from cpl_edge.data.images import IMAGE_SUFFIXES, read_photo
from cpl_edge.data.streaks import varied_rain
from cpl_edge.data.variation import (
    EXPOSED_ALREADY,
    Variation,
    any_noise,
    darken,
    light_lamps,
    save_some,
    weaken,
)
from cpl_edge.errors import UserError


class ImageBank:
    """Clean images as one flat uint8 tensor, from which batches of crops are gathered.

    Gathering by index instead of slicing image by image makes a batch one operation on any
    device; flips and transposition are part of the index.

    Args:
        images_HWC: clean uint8 RGB images.
        device: where batches are made.
        mix: whole-number share of each degradation in a batch; None for even shares.
        variation: what happens to crops beside their degradation; None for nothing.
    """

    def __init__(
        self,
        images_HWC: Sequence[np.ndarray],
        device: torch.device | str = "cpu",
        mix: Mapping[str, int] | None = None,
        variation: Variation | None = None,
    ) -> None:
        if not images_HWC:
            raise UserError("the image bank is empty: give a folder with images")
        self.mix, self.variation = mix, variation
        sizes = [image.shape[:2] for image in images_HWC]
        offsets = np.cumsum([0, *(h * w for h, w in sizes)])[:-1]
        flat = np.concatenate([image.reshape(-1, 3) for image in images_HWC])
        self.pixels = torch.from_numpy(flat).to(device)
        self.sizes = torch.tensor(sizes, device=device)
        self.offsets = torch.from_numpy(offsets).to(device)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def device(self) -> torch.device:
        """Where the pixels lie."""
        return self.pixels.device

    def crops(self, count: int, size: int, generator: Generator) -> tuple[Tensor, float]:
        """Cut random crops, each randomly flipped and transposed.

        Args:
            count: number of crops B.
            size: side of a crop in pixels.
            generator: on the bank's device.

        Returns:
            ``x_BCHW``, float RGB in [0, 1] in channels-last memory, and the typical share of a
            photo's side that a crop shows (the ``extent`` of the degradations).

        Raises:
            UserError: an image is smaller than the crop.
        """
        smallest = int(self.sizes.min())
        if smallest < size:
            raise UserError(f"crops of {size} do not fit an image whose side is {smallest}")
        image_B = draw(torch.full((count,), len(self), device=self.device), generator)
        index_BHW = self.offsets[image_B, None, None] + window_index(
            self.sizes[image_B], size, generator
        )
        x_BHWC = self.pixels[index_BHW].float() / 255
        return x_BHWC.permute(0, 3, 1, 2), min(1.0, size / float(self.sizes.double().mean()))

    def degraded(
        self, kinds: Sequence[str], count: int, size: int, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A training batch: ``count`` crops, shared out over the degradations.

        Returns:
            Degraded ``x_BCHW``, clean ``y_BCHW`` and the degradation's index ``label_B``.

        Raises:
            UserError: the mix names other degradations than ``kinds``.
        """
        y_BCHW, share = self.crops(count, size, generator)
        # Mostly the crop's true share of a photo, sometimes more: whole photos are seen as well.
        wider = float(torch.rand((), generator=generator, device=self.device)) ** 2
        extent = share + (1 - share) * wider
        label_B = self._labels(kinds, count)
        if self.variation:
            noisy_B = label_B == (kinds.index("noise") if "noise" in kinds else -1)
            clean_B = noisy_B & (uniform(count, 0.0, 1.0, generator) < self.variation.clean)
            exposed = [kinds.index(kind) for kind in EXPOSED_ALREADY if kind in kinds]
            may_B = ~clean_B & ~torch.isin(label_B, label_B.new_tensor(exposed))
            y_BCHW = darken(y_BCHW, may_B, self.variation.exposure, generator)
            if self.variation.lamps:  # without it, the same draws as before there was such a word
                y_BCHW = light_lamps(y_BCHW, self.variation.lamps, generator)
        x_BCHW = torch.empty_like(y_BCHW)
        for index, kind in enumerate(kinds):
            mine = label_B == index
            if mine.any():
                x_BCHW[mine] = degrade(y_BCHW[mine], kind, generator, extent)
        if self.variation:
            x_BCHW[noisy_B] = any_noise(
                x_BCHW[noisy_B], y_BCHW[noisy_B], clean_B[noisy_B], self.variation.sigma, generator
            )
            if self.variation.streaks:  # as for lamps
                rainy_B = label_B == (kinds.index("rain") if "rain" in kinds else -1)
                x_BCHW[rainy_B] = varied_rain(
                    x_BCHW[rainy_B], self.variation.streaks, y_BCHW[rainy_B], generator
                )
            if self.variation.weak:
                x_BCHW = weaken(x_BCHW, y_BCHW, self.variation.weak, generator)
            x_BCHW = save_some(x_BCHW, self.variation.jpeg, generator)
        return x_BCHW, y_BCHW, label_B

    def _labels(self, kinds: Sequence[str], count: int) -> Tensor:
        """Index of each crop's degradation, in order, by their shares."""
        if self.mix is not None and set(self.mix) != set(kinds):
            raise UserError(f"'mix' must give a share for each of {', '.join(kinds)}")
        shares = torch.tensor([self.mix[kind] if self.mix else 1 for kind in kinds])
        ends = shares.cumsum(0) * count
        places = torch.arange(count) * shares.sum()
        return torch.searchsorted(ends, places, right=True).to(self.device)


def list_images(folders: Iterable[Path]) -> list[Path]:
    """All image files below the folders, sorted by path.

    Raises:
        UserError: a folder does not exist or holds no image.
    """
    files: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: give the training images with --data")
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise UserError(f"{folder} holds no images")
        files += found
    return files


def load_images(files: Sequence[Path]) -> list[np.ndarray]:
    """Decode files as uint8 RGB (H, W, 3)."""
    images = []
    for path in track(files, "reading images"):
        image = read_photo(path).image_HWC
        images.append(image if image.dtype == np.uint8 else (image // 257).astype(np.uint8))
    return images
