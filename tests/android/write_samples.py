"""Write the photos that come with the Android app: degraded ones, so that there is work to do.

    PYTHONPATH=. python tests/android/write_samples.py

From scikit-image: the astronaut (NASA, public domain) and the cup of coffee (Rachel Michetti, CC0).
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from skimage import data

from cpl_edge.data import degradations

FOLDER = Path(__file__).parents[2] / "android_demo/app/src/main/assets/photos"


def main() -> None:
    """Write both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(3)
    astronaut, coffee = (
        torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        for image in (data.astronaut()[:360, 50:410], data.coffee()[20:380, 60:480])
    )
    noisy = degradations.add_noise(astronaut, 25.0, generator)
    rainy = degradations.rain(coffee, generator, 1.0)
    for name, image_BCHW in (("1-noise", noisy), ("2-rain", rainy)):
        pixels_HWC = (image_BCHW[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        # Stronger compression would leave blotches of the noise, which is another degradation.
        path = FOLDER / f"{name}.jpg"
        Image.fromarray(pixels_HWC).save(path, quality=95, subsampling=0)


if __name__ == "__main__":
    main()
