import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data.degradations import degrade
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.search.candidates import Condition
from cpl_edge.search.measure import make_crops, measure, psnr

CONDITIONS = [
    Condition(label="noise 40", degradation="noise", sigma=40),
    Condition(label="blur", degradation="blur"),
    Condition(label="both", degradation="blur+noise", seen=False),
]


class Fake(Student):
    """Routes everything to one degradation; each prompt multiplies the image by a number."""

    def __init__(self, chosen, factors, **values):
        super().__init__(StudentConfig(widths=(2, 2), blocks=(0, 0, 0), **values))
        self.chosen, self.factors_N = chosen, torch.tensor(factors)
        self.eval()

    def logits(self, x_BCHW):
        logits = torch.zeros(len(x_BCHW), 1, self.config.outputs)
        logits[..., self.chosen] = 3.0
        return logits

    def restore(self, x_BCHW, w_BSN):
        return x_BCHW * (w_BSN[:, 0] @ self.factors_N)[:, None, None, None]


@pytest.fixture(scope="module")
def crops(photos):
    return make_crops(CONDITIONS, photos[:3], 32)


def test_crops_are_the_middles_degraded_by_their_place(photos, crops):
    noisy, blurred, both = crops
    clean = torch.from_numpy(photos[1][8:40, 16:48].copy()).permute(2, 0, 1) / 255
    assert torch.equal(noisy.y_BCHW[1], clean)
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(blurred.x_BCHW[1], degrade(clean[None], "blur", generator)[0])
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(both.x_BCHW[1], degrade(clean[None], "blur+noise", generator)[0])


def test_sigma_is_the_noises(crops):
    difference = crops[0].x_BCHW - crops[0].y_BCHW
    middle = (crops[0].y_BCHW > 0.35) & (crops[0].y_BCHW < 0.65)  # not clipped
    assert float(difference[middle].std()) * 255 == pytest.approx(40, rel=0.1)
    assert torch.equal((crops[0].x_BCHW * 255).round() / 255, crops[0].x_BCHW)


def test_the_same_crops_come_every_time(photos, crops):
    again = make_crops(CONDITIONS, photos[:3], 32)
    assert all(torch.equal(a.x_BCHW, b.x_BCHW) for a, b in zip(crops, again, strict=True))


def test_an_image_smaller_than_the_crop_is_told(photos):
    with pytest.raises(UserError, match="64x48 pixels is smaller than side = 64"):
        make_crops(CONDITIONS, photos, 64)


def test_pairs_are_read(tmp_path, photos):
    for folder, images in (("in", [255 - p for p in photos]), ("out", photos)):
        (tmp_path / folder).mkdir()
        for n, image_HWC in enumerate(images):
            Image.fromarray(image_HWC).save(tmp_path / folder / f"{n}.png")
    pair = Condition(label="real", degradation="rain", input="in", target="out")
    (crop,) = make_crops([pair], photos[:2], 32, tmp_path)
    assert crop.x_BCHW.shape == (2, 3, 32, 32)
    torch.testing.assert_close(crop.x_BCHW, 1 - crop.y_BCHW)
    (tmp_path / "in" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1\.png is missing: pairs must have equal names"):
        make_crops([pair], photos[:2], 32, tmp_path)


def mean_psnr(crop, factor):
    return float(np.mean([psnr(crop.x_BCHW * factor, crop.y_BCHW).tolist()]))


def test_figures_are_those_of_the_selected_and_the_true_prompt(crops):
    # Levels: noise, blur, rain, haze, low light; the router takes blur for everything.
    factors = [0.9, 1.0, 0.8, 0.7, 0.6]
    student = Fake(1, factors, levels=1)
    noisy, blurred, both = (measure(student, crop) for crop in crops)
    assert noisy.input == pytest.approx(mean_psnr(crops[0], 1), abs=1e-3)
    assert noisy.routed == noisy.input  # blur's factor is 1
    assert noisy.told == pytest.approx(mean_psnr(crops[0], 0.9), abs=1e-3)
    assert (noisy.right, blurred.right, both.right) == (0.0, 1.0, None)
    assert noisy.selected == noisy.weights == (0, 1, 0, 0, 0)
    assert noisy.best is blurred.best is both.told is None
    of_each = [psnr(crops[2].x_BCHW * factor, crops[2].y_BCHW) for factor in factors]
    assert both.best == pytest.approx(float(torch.stack(of_each).amax(0).mean()), abs=1e-3)


def test_levels_of_a_degradation_are_shares(crops):
    student = Fake([1, 5 + 3], [1.0] * 10, levels=2)  # blur, and its second level rather
    figures = measure(student, crops[0])
    assert figures.selected == (0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    assert figures.weights[2] + figures.weights[3] == pytest.approx(1, abs=1e-3)
    assert figures.weights[3] > figures.weights[2] > 0


def test_sparse_weights_are_shares_whatever_their_sum(crops):
    figures = measure(Fake(2, [1.0] * 5, levels=1, prompt="sparse"), crops[0], named=False)
    assert figures.weights == figures.selected == (0, 0, 1, 0, 0)
    assert figures.told is figures.best is figures.right is None


def test_without_prompts_there_is_nothing_to_select(crops):
    student = Student(StudentConfig(widths=(2, 2), blocks=(0, 0, 0), prompt="none")).eval()
    figures = measure(student, crops[0], named=False)
    assert figures.weights == figures.selected == ()
    assert figures.routed is not None
    assert figures.told is None


def test_a_router_that_learned_nothing_is_not_asked(crops):
    figures = measure(Fake(1, [0.9] * 5, levels=1), crops[0], named=False, routes=False)
    assert figures.routed is figures.right is None
    assert figures.weights == ()
    assert figures.told == pytest.approx(mean_psnr(crops[0], 0.9), abs=1e-3)


def test_psnr_clips():
    y = torch.full((1, 3, 4, 4), 1.0)
    assert float(psnr(y * 3, y)) == pytest.approx(100)
    assert float(psnr(y - 0.1, y)) == pytest.approx(20, abs=1e-4)


def test_wrong_prompts_are_the_next_ones(crops):
    student = Fake(1, [0.9, 1.0, 0.8, 0.7, 0.6], levels=1)
    noisy, blurred, both = (measure(student, crop) for crop in crops)
    assert noisy.wrong == noisy.input  # blur's factor is 1
    assert blurred.wrong == pytest.approx(mean_psnr(crops[1], 0.8), abs=1e-3)
    assert both.wrong is None
    sparse = measure(Fake(2, [1.0, 1.0, 1.0, 0.5, 1.0], levels=1, prompt="sparse"), crops[2])
    share = float(torch.tensor([0.0, 0, 3, 0, 0]).softmax(0)[2])
    assert sparse.wrong == pytest.approx(mean_psnr(crops[2], 0.5 * share), abs=1e-3)


def test_each_prompt_brings_what_its_degradation_owns(crops):
    config = StudentConfig(widths=(2, 2), blocks=(0, 0, 0), own=("head", "tail"))
    student = Student(config).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in student.parameters():  # all of them: what a fresh one has is random
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    told = [student.told(index).requires_grad_(False) for index in range(5)]
    noisy, _, both = crops
    of_D = [psnr(one(noisy.x_BCHW), noisy.y_BCHW).mean().item() for one in told]
    figures = measure(student, noisy)
    assert figures.told == pytest.approx(of_D[0], abs=2e-3)
    assert figures.wrong == pytest.approx(of_D[1], abs=2e-3)
    assert of_D[0] != pytest.approx(of_D[1], abs=0.1)
    every = torch.stack([psnr(one(both.x_BCHW), both.y_BCHW) for one in told])
    assert measure(student, both).best == pytest.approx(every.amax(0).mean().item(), abs=2e-3)
