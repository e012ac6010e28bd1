import pytest
import torch
from torch import nn

from cpl_edge.models.promptir import PromptIRConfig, Route
from cpl_edge.search.candidates import Condition
from cpl_edge.search.measure import make_crops, psnr
from cpl_edge.search.measure_teacher import measure_teacher


class Fake(nn.Module):
    """Three sites of four prompts; the first site's selection multiplies the image by a number."""

    factors_N = torch.tensor([0.5, 0.6, 1.0, 0.8])

    def __init__(self, prompt, prompts=4):
        super().__init__()
        self.config = PromptIRConfig(prompt=prompt, prompts=prompts)
        self.prompts = prompts

    def forward(self, x_BCHW, w=None, return_routes=False):
        routes = []
        for site in range(3):
            w_BN = torch.zeros(len(x_BCHW), self.prompts)
            if self.prompts:
                w_BN[:, (2, 0, 3)[site]] = 1
            routes.append(Route(w_BN, w_BN))
        used = [route.w_BN for route in routes] if w is None else w
        scale_B = used[0] @ self.factors_N if self.prompts else torch.ones(len(x_BCHW))
        y_BCHW = x_BCHW * scale_B[:, None, None, None]
        return (y_BCHW, routes) if return_routes else y_BCHW


@pytest.fixture(scope="module")
def crop(photos):
    (found,) = make_crops([Condition(label="blur", degradation="blur")], photos[:3], 32)
    return found


def test_figures_are_those_of_the_routers_and_of_the_next_prompts(crop):
    figures = measure_teacher(Fake("spm"), crop)
    before = float(psnr(crop.x_BCHW, crop.y_BCHW).mean())
    wrong = float(psnr(crop.x_BCHW * 0.8, crop.y_BCHW).mean())
    assert figures.input == figures.routed == pytest.approx(before, abs=1e-3)
    assert figures.wrong == pytest.approx(wrong, abs=1e-3)
    assert figures.selected == figures.weights == (0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1)
    assert figures.told is figures.best is figures.right is None


def test_soft_prompts_have_no_wrong_ones(crop):
    assert measure_teacher(Fake("soft"), crop).wrong is None


def test_a_teacher_without_prompts_selects_nothing(crop):
    figures = measure_teacher(Fake("none", 0), crop)
    assert figures.selected == figures.weights == ()
    assert figures.routed == figures.input
