"""The smallest halo: never one that shows, never more than convolutions reach."""

from contextlib import closing

import numpy as np
import pytest
import torch

from cpl_edge.export.build import export
from cpl_edge.export.crops import make_crops
from cpl_edge.export.halo import Halo, smallest_halo, tile_error
from cpl_edge.export.recipe import read_recipes
from cpl_edge.restore.restorer import Restorer
from cpl_edge.runtimes import open_runtime
from tests.export.conftest import small_student

SIZE = (120, 140)


@pytest.fixture(scope="module")
def crops(student):
    return make_crops(student.config.degradations, SIZE)


@pytest.fixture
def near():
    """A student whose blocks add nothing: it reaches as far as its other convolutions do."""
    student = small_student()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "project" in name:
                parameter.zero_()
    return student


def test_no_seam_at_all_takes_what_convolutions_reach(student, crops):
    assert smallest_halo(student, crops, 0) == Halo(student.halo, 0.0)


def test_pixels_that_change_nothing_are_no_halo(near, crops):
    # Two convolutions at half size, one at a quarter and the changes of size; sums are rounded.
    assert smallest_halo(near, crops, 1e-3).pixels == 8
    assert near.halo == 24


@pytest.mark.parametrize("seam", [0.05, 0.1, 1.0])
def test_the_smallest_halo_that_holds_the_limit(student, crops, seam):
    def worst(halo):
        inner = (slice(halo, -halo or None),) * 2
        return max(float(tile_error(student, c.x_BCHW)[inner].max()) for c in crops)

    found = smallest_halo(student, crops, seam)
    assert 0 < found.pixels < student.halo
    assert found.levels == worst(found.pixels) <= seam < worst(found.pixels - student.multiple)


def test_prompts_that_are_given_decide(student, crops):
    """A photo's prompts change how far its pixels count."""
    found = {
        smallest_halo(student, crops[:1], 0.1, 3 * w_N).levels for w_N in torch.eye(15).unbind()
    }
    assert len(found) > 3


def test_a_tile_too_small_to_tell_takes_the_whole_reach(student):
    crops = make_crops(student.config.degradations, (52, 52))
    assert smallest_halo(student, crops, 0.1) == Halo(24, 0.0)


@pytest.mark.parametrize("seam", [0.0, 0.1])
def test_a_file_keeps_its_halo_and_tiles_by_it(student, weights, tmp_path, seam):
    (recipe,) = read_recipes("onnx", size="120x140")
    recipe = recipe.model_copy(update={"seam": seam})
    (outcome,) = export([recipe], str(weights), tmp_path)
    halo, card = outcome.card["halo"]["pixels"], outcome.card
    assert (halo == student.halo) == (seam == 0)
    assert card["recipe"]["seam"] == seam
    assert card["halo"]["levels"] <= seam
    photo = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    with closing(open_runtime(outcome.folder / "model.onnx")) as runtime:
        assert runtime.info.halo == halo
        restored = Restorer(runtime).restore_float(photo)
    assert restored.tiles == -(-300 // (120 - 2 * halo)) * -(-260 // (140 - 2 * halo))
    with closing(open_runtime(weights)) as runtime:
        expected = Restorer(runtime).restore_float(photo, restored.weights_SN)
    # Noise is harder than any crop was: some levels, where a halo of 0 would be off by dozens.
    assert np.abs(restored.image_HWC - expected.image_HWC).max() * 255 <= max(0.01, 10 * seam)
