"""Miniature copies of the published datasets, with the authors' names for folders and files."""

import zlib

import numpy as np
import pytest
from PIL import Image

_THREE = [
    "Train/Denoise/00001.bmp", "Train/Denoise/100075.jpg",
    "Train/Derain/gt/norain-1.png", "Train/Derain/rainy/rain-1.png",
    "Train/Derain/gt/norain-10.png", "Train/Derain/rainy/rain-10.png",
    "Train/Dehaze/original/0025.jpg", "Train/Dehaze/original/3068.jpg",
    "Train/Dehaze/synthetic/part1/0025_0.8_0.04.jpg",
    "Train/Dehaze/synthetic/part1/0025_1_0.2.jpg",
    "Train/Dehaze/synthetic/part2/3068_0.95_0.16.jpg",
    "test/denoise/bsd68/3096.jpg", "test/denoise/urban100/img_001.png",
    "test/derain/Rain100L/input/1.png", "test/derain/Rain100L/target/1.png",
    "test/dehaze/input/0001_0.8_0.2.jpg", "test/dehaze/target/0001.png",
]  # fmt: skip
_CDD = [
    "low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow",
    "haze_rain", "haze_snow", "low_haze_rain", "low_haze_snow",
]  # fmt: skip

FILES = {
    "3tasks": _THREE,
    "5tasks": [
        *_THREE,
        "Train/Deblur/blur/GOPR0372_07_00_000047.png",
        "Train/Deblur/sharp/GOPR0372_07_00_000047.png",
        "Train/Enhance/low/2.png", "Train/Enhance/gt/2.png",
        "test/deblur/gopro/input/GOPR0384_11_00_000001.png",
        "test/deblur/gopro/target/GOPR0384_11_00_000001.png",
        "test/enhance/lol/input/1.png", "test/enhance/lol/target/1.png",
    ],
    "7tasks": ["train/DF2K/0001.png", "train/DF2K/000002.png", "test/MiO100/001.png"],
    "allweather": [
        "allweather/input/0_rain.png", "allweather/gt/0_clean.png",
        "allweather/input/im_0001_s80_a04.png", "allweather/input/im_0001_s95_a06.png",
        "allweather/gt/im_0001.png",
        "allweather/input/beautiful_smile_00003.jpg", "allweather/gt/beautiful_smile_00003.jpg",
        "test/Snow100K-S/synthetic/city_1.jpg", "test/Snow100K-S/gt/city_1.jpg",
        "test/Snow100K-L/synthetic/city_2.jpg", "test/Snow100K-L/gt/city_2.jpg",
        "test/Test1/input/im_0601_s85_a05.png", "test/Test1/gt/im_0601.png",
        "test/RainDrop/input/7_rain.png", "test/RainDrop/gt/7_clean.png",
    ],
    "cdd11": [
        f"{split}/{kind}/{name}.png"
        for split, name in (("train", "00001"), ("train", "00002"), ("test", "00003"))
        for kind in ("clear", *_CDD)
    ],
    "weatherbench": [
        f"{task}/{side}/{task}_1.png"
        for task in ("rain", "haze", "snow")
        for side in ("input", "target")
    ],
}  # fmt: skip


@pytest.fixture(name="make_dataset", scope="session")
def dataset_maker():
    """A function ``(layout, folder) -> folder`` that writes a whole miniature dataset.

    The images are 24x32 noise, different in every file.
    """

    def make(layout, folder):
        for name in FILES[layout]:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(zlib.crc32(name.encode()))
            Image.fromarray(noise.integers(0, 256, (24, 32, 3), np.uint8)).save(path)
        return folder

    return make
