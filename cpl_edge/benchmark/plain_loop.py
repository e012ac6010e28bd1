"""The paper's recipe as a plain training loop: what the engine's speed is measured against.

- float32 as PyTorch sets it up (on a GPU convolutions may use TF32, products of matrices not);
- worker processes that decode files: the clean image and, but for noise, its degraded one, which
  lies on the disk as in the published datasets; then the same random crop and flip of both;
- four negatives, each a forward of its own through the whole network;
- AdamW, and the loss read after every step.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from cpl_edge.train.recipe import TeacherRecipe


def write_pairs(
    images_HWC: Sequence[np.ndarray], kinds: Sequence[str], folder: Path
) -> list[tuple[str, Path, Path]]:
    """Write the files that the plain loop decodes.

    Returns:
        Kind, clean file and degraded file of each pair; for noise, which is added while training,
        the clean file twice.
    """
    import numpy as np
    import torch
    from PIL import Image

    from cpl_edge.data.degradations import degrade

    pairs = []
    for number, image_HWC in enumerate(images_HWC):
        clean = folder / f"{number}.png"
        Image.fromarray(image_HWC).save(clean, compress_level=1)
        x_BCHW = torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1)[None] / 255
        for kind in kinds:
            if kind == "noise":
                pairs.append((kind, clean, clean))
                continue
            generator = torch.Generator().manual_seed(number)
            degraded_CHW = (degrade(x_BCHW, kind, generator)[0] * 255).round().byte()
            path = folder / f"{number}-{kind}.png"
            Image.fromarray(degraded_CHW.permute(1, 2, 0).numpy()).save(path, compress_level=1)
            pairs.append((kind, clean, path))
    return pairs


class PlainPairs:
    """A data set of pairs: decodes two files, crops, flips, adds noise of 15, 25 or 50.

    Args:
        pairs: from :func:`write_pairs`.
        crop: side in pixels.
    """

    def __init__(self, pairs: Sequence[tuple[str, Path, Path]], crop: int) -> None:
        self.pairs, self.crop = pairs, crop

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        import numpy as np
        import torch
        from PIL import Image

        kind, clean, degraded = self.pairs[index]
        y_HWC = np.asarray(Image.open(clean).convert("RGB"))
        x_HWC = y_HWC if kind == "noise" else np.asarray(Image.open(degraded).convert("RGB"))
        rng = np.random.default_rng()
        top, left = (int(rng.integers(side - self.crop + 1)) for side in y_HWC.shape[:2])
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        x_HWC, y_HWC = x_HWC[window], y_HWC[window]
        if rng.random() < 0.5:
            x_HWC, y_HWC = x_HWC[:, ::-1], y_HWC[:, ::-1]
        if kind == "noise":
            noisy = x_HWC + rng.standard_normal(x_HWC.shape) * rng.choice((15, 25, 50))
            x_HWC = noisy.clip(0, 255).astype(np.uint8)
        x_CHW, y_CHW = (
            torch.from_numpy(np.ascontiguousarray(image_HWC)).permute(2, 0, 1).float() / 255
            for image_HWC in (x_HWC, y_HWC)
        )
        return x_CHW, y_CHW


def plain_steps(
    recipe: TeacherRecipe, pairs: PlainPairs, workers: int, device: torch.device
) -> Generator[None]:
    """The plain loop; each ``next`` is one step."""
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    from cpl_edge.losses.contrastive import ContrastiveRegularisation
    from cpl_edge.losses.features import FilterBank
    from cpl_edge.models.promptir import create_promptir

    batch = recipe.stages[0].batch
    loader: Any = DataLoader(
        pairs,  # type: ignore[arg-type]
        batch,
        sampler=RandomSampler(pairs, replacement=True, num_samples=1_000_000 * batch),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    network = create_promptir(recipe.teacher, prompt=recipe.prompt).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, recipe.betas, weight_decay=0.0)
    generator = torch.Generator(device).manual_seed(0)
    weight = 0.001 / max(recipe.negatives, 1)
    cpr = ContrastiveRegularisation(FilterBank().to(device), 1, weight, batched=False)
    for x_BCHW, y_BCHW in loader:
        # As PyTorch sets it up; the engine, whose turn was before, asks for more.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = True, False
        x_BCHW, y_BCHW = x_BCHW.to(device), y_BCHW.to(device)
        restored, routes = network(x_BCHW, None, True)
        loss = (restored - y_BCHW).abs().mean()
        wrong = []
        for _ in range(recipe.negatives):
            wrong += cpr.wrong_restorations(network, x_BCHW, None, routes, generator)
        loss = loss + cpr.term(restored, wrong)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        yield
