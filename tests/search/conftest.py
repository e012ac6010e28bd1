"""A search that takes seconds: small photos, the smallest of students, three steps."""

import pytest
from PIL import Image

from cpl_edge.data.photos import bundled_photos
from cpl_edge.search.results import CurvePoint, Figures, Run, SearchResult

CONDITIONS = (
    {"label": "noise 15", "degradation": "noise", "seen": True},
    {"label": "noise 50", "degradation": "noise", "seen": True},
    {"label": "rain", "degradation": "rain", "seen": True},
    {"label": "jpeg", "degradation": "jpeg", "seen": False},
)

TINY = """
name = "tiny"
about = "three steps"
seeds = [0, 1]
images = 2
side = 32

[recipe]
student = "nano"
shape = { widths = [4, 6], blocks = [1, 1, 1], levels = 2 }
folders = ["photos"]
holdout = 3
steps = 3
checkpoint_every = 1

[[recipe.stages]]
crop = 16
batch = 5

[[candidates]]
name = "none"
about = "no prompts"
recipe = { shape = { prompt = "none" } }

[[candidates]]
name = "ours"
about = "two levels"

[[conditions]]
label = "noise 25"
degradation = "noise"
sigma = 25

[[conditions]]
label = "haze"
degradation = "haze"

[[conditions]]
label = "haze+rain"
degradation = "haze+rain"
seen = false
"""


@pytest.fixture(scope="session")
def photos():
    """Five photos of 64x48 pixels."""
    return [image_HWC[100:148, 100:164] for _, image_HWC in bundled_photos()]


@pytest.fixture
def place(tmp_path, monkeypatch, photos):
    """A folder with ``tiny.toml`` and ``data/photos``, made the current one."""
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for n, image_HWC in enumerate(photos):
        Image.fromarray(image_HWC).save(tmp_path / "data" / "photos" / f"{n}.png")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def conditions():
    """What the runs of ``make_run`` were measured on."""
    return CONDITIONS


@pytest.fixture(scope="session")
def make_run():
    def make(candidate="a", seed=0, curve=(1.0, 2.0), routed=(20, 30, 25, 99), selected=None,
             choices=1, **values):  # fmt: skip
        """A run with figures for the four conditions; told, it is one dB better."""
        figures = tuple(
            Figures(condition=c["label"], input=10.0, routed=r, told=None if r is None else r + 1.0,
                    selected=s, weights=s)
            for c, r, s in zip(CONDITIONS, routed, selected or [(1, 0, 0, 0)] * 4, strict=True)
        )  # fmt: skip
        config = {"prompt": "sparse", "degradations": ["noise", "rain"]}
        plain = {"recipe": {}, "config": config, "steps": 10, "seconds": 1.0, "parameters": 7000,
                 "macs": 3_000_000}  # fmt: skip
        points = (CurvePoint(step=10 * (n + 1) // len(curve), psnr=p) for n, p in enumerate(curve))
        return Run(candidate=candidate, seed=seed, curve=tuple(points), figures=figures,
                   choices=choices, **{**plain, **values})  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_result():
    def make(runs, **values):
        """A search that found these runs."""
        plain = {
            "name": "tiny",
            "about": "three steps",
            "date": "2026",
            "machine": {},
            "versions": {},
            "images": 3,
            "crops": 2,
            "side": 32,
            "planned": 9,
            "conditions": CONDITIONS,
            "runs": tuple(runs),
            "about_candidates": {run.candidate: run.candidate.upper() for run in runs},
        }
        return SearchResult(**{**plain, **values})  # fmt: skip

    return make
