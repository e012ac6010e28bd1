"""Forms of students to compare with: other prompts, routers and places of prompts."""

import pytest
import torch
import torch.nn.functional as F

from cpl_edge.models.student import PromptedBlock, Student, StudentConfig

CONFIG = StudentConfig(widths=(6, 10), router_widths=(5, 7), router_hidden=9)
D, N = len(CONFIG.degradations), CONFIG.prompts


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def formed(trained_like):
    def make(**values):
        """A trained-like student of another form."""
        return trained_like(StudentConfig(widths=(6, 10), router_widths=(5, 7), **values))

    return make


def test_the_usual_student_has_the_usual_parameters():
    """Weights of before there were other forms still load, and nothing else is expected."""
    names = set(Student(CONFIG).state_dict())
    assert not any(word in name for name in names for word in ("u_NCR", "v_NRC"))
    assert CONFIG.outputs == D + N
    assert CONFIG.exported


@torch.no_grad()
def test_soft_prompts_are_all_used(formed, x_BCHW):
    student = formed(prompt="soft", levels=1)
    w_BSN = student.route(x_BCHW)
    logits_BSL = student.logits(x_BCHW)
    assert logits_BSL.shape == w_BSN.shape == (2, 1, D)
    torch.testing.assert_close(w_BSN, logits_BSL.softmax(-1))
    assert (w_BSN > 0).all()


@torch.no_grad()
def test_a_sparse_prompt_keeps_its_share_and_the_rest_is_zero(formed):
    student = formed(prompt="sparse", levels=2)
    logits = torch.randn(6, 1, 2 * D, generator=rng(8))
    w_BSN, p_BSN = student.select(logits), logits.softmax(-1)
    assert ((w_BSN > 0).sum(-1) == 1).all()
    assert torch.equal(w_BSN.amax(-1), p_BSN.amax(-1))
    tied = torch.zeros(1, 1, 2 * D)
    assert student.select(tied)[0, 0].nonzero().flatten().tolist() == [0]


def test_the_router_learns_through_a_sparse_prompt(formed):
    student = formed(prompt="sparse", levels=1)
    logits = torch.randn(1, 1, D, generator=rng(9), requires_grad=True)
    student.restore(torch.rand(1, 3, 16, 16), student.select(logits)).sum().backward()
    assert (logits.grad != 0).all()


@torch.no_grad()
def test_without_prompts_nothing_is_routed(formed, x_BCHW):
    student = formed(prompt="none")
    assert not any("router" in name or "_NC" in name for name, _ in student.named_parameters())
    assert student.route(x_BCHW).shape == (2, 1, 0)
    assert student(x_BCHW).shape == x_BCHW.shape
    label_B = torch.tensor([0, 1])
    assert student.forced(student.logits(x_BCHW), label_B).shape == (2, 1, 0)


def test_names_of_prompts_without_labels_are_those_of_their_degradation(formed):
    student = formed(prompt="sparse", levels=2)
    p_DM = torch.tensor([[0.1, 0.2], [0.05, 0.05], [0.3, 0.1], [0.1, 0.05], [0.03, 0.02]])
    names = student.names(p_DM.log().view(1, 1, -1))
    torch.testing.assert_close(names.exp()[0, 0], p_DM.sum(1))
    assert torch.equal(student.choices(names), names)  # one for each prompt
    logits = torch.randn(1, 1, D + N, generator=rng(10))
    assert torch.equal(Student(CONFIG).names(logits), logits[..., :D])
    assert torch.equal(Student(CONFIG).choices(logits), logits[..., :D])


def test_only_the_named_parts_have_prompts(formed, x_BCHW):
    student = formed(prompted=("middle",))
    kinds = {part: type(getattr(student, part)[0]).__name__ for part in ("encoder", "decoder")}
    assert kinds == {"encoder": "PlainBlock", "decoder": "PlainBlock"}
    assert isinstance(student.middle[0], PromptedBlock)
    w_N = torch.rand(N, generator=rng(2)).softmax(-1)
    pinned = student.pin(w_N.tolist())
    expected = student.restore(x_BCHW, w_N.expand(2, 1, N))
    assert (pinned(x_BCHW) - expected).abs().max() <= 1e-4


@torch.no_grad()
def test_a_router_of_means_sees_nothing_else(formed, x_BCHW):
    student = formed(router="mean")
    router = student.router
    a = router.conv1(F.pixel_unshuffle(x_BCHW, 2))
    means = torch.cat([m.mean((2, 3)) for m in (a, router.conv2(a.clamp(min=0)))], 1)
    expected = router.head(router.hidden(means).clamp(min=0))
    torch.testing.assert_close(student.logits(x_BCHW)[:, 0], expected)


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "hard"},
        {"router": "median"},
        {"prompted": ("tail",)},
        {"rank": -1},
    ],
)
def test_impossible_forms_are_refused(values):
    with pytest.raises(ValueError, match=r"choose from|negative"):
        StudentConfig(**values)


@pytest.mark.parametrize(
    "values",
    [{"prompt": "none"}, {"prompt": "soft"}, {"prompt": "sparse"}, {"router": "mean"}, {"rank": 2}],
)
def test_other_forms_are_not_exported(values):
    assert not StudentConfig(**values).exported
    assert StudentConfig(prompted=("middle",), levels=1).exported
