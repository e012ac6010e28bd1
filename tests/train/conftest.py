"""What the tests of teachers, distillation and processes share."""

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.train.recipe import Stage, TeacherRecipe

KINDS = ("noise", "haze")


@pytest.fixture(scope="session")
def photo():
    return dict(bundled_photos())["coffee"][:96, :128]


@pytest.fixture
def batch(photo):
    """Two degraded crops of 16x16 with their labels and the generator that follows."""
    generator = torch.Generator().manual_seed(0)
    return *ImageBank([photo]).degraded(KINDS, 2, 16, generator), 16, generator


@pytest.fixture(scope="session")
def teacher_recipe():
    def make(**values):
        """A few steps of the smallest teacher on the smallest crops."""
        plain = {
            "network": "teacher",
            "teacher": "cpl-tiny",
            "degradations": KINDS,
            "steps": 3,
            "precision": "fp32",
            "checkpoint_every": 2,
            "validate_every": 3,
            "stages": [Stage(crop=16, batch=2)],
        }
        return TeacherRecipe(**{**plain, **values})

    return make
