"""What the tests of teachers, distillation and processes share."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.models.promptir import create_promptir
from cpl_edge.models.teachers import save_teacher
from cpl_edge.train.recipe import Stage, StudentRecipe, TeacherRecipe
from cpl_edge.train.start import create_task

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


@pytest.fixture(name="teacher", scope="session")
def teacher_file(tmp_path_factory):
    """Weights of the smallest teacher, untrained."""
    torch.manual_seed(0)
    network = create_promptir("cpl-tiny")
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_teacher(network.config, network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def task_of():
    def make(**values):
        """A task of a recipe as TOML would give it, whose prompts do something."""
        shape = {"widths": [4, 6], "blocks": [1, 1, 1], "levels": 1, **values.pop("shape", {})}
        recipe = {"student": "nano", "precision": "fp32", "shape": shape, **values}
        task = create_task(StudentRecipe.model_validate_json(json.dumps(recipe)))
        with torch.no_grad():  # a fresh student is the identity: its prompts would change nothing
            for name, parameter in task.network.named_parameters():
                if "project" in name or "shift" in name:
                    parameter.normal_(generator=torch.Generator().manual_seed(0))
        return task

    return make


@pytest.fixture(scope="session")
def two_processes():
    def run(program, *words):
        """Run a program in two processes that find each other as ``torchrun``'s do."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1",
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, *words],
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            errors = [process.communicate(timeout=500)[1] for process in processes]
        finally:
            for process in processes:  # one that waits for the other would wait for long
                process.kill()
        assert [process.returncode for process in processes] == [0, 0], errors

    return run


class BothHalves(ImageBank):
    """Gives one process what two would get."""

    def degraded(self, kinds, count, size, generator):
        if not hasattr(self, "other"):
            self.other = torch.Generator().manual_seed(1_000_003)
        draw = super().degraded
        halves = [draw(kinds, count // 2, size, g) for g in (generator, self.other)]
        return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))


@pytest.fixture(scope="session")
def both_halves():
    return BothHalves
