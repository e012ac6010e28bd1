from dataclasses import replace

import pytest
import torch

from cpl_edge.models.grow import grow, take_own
from cpl_edge.models.shape import DEGRADATIONS, PARTS
from cpl_edge.models.student import Student, StudentConfig


def student(seed, **shape):
    """A student whose every weight matters: a fresh one's blocks are the identity."""
    torch.manual_seed(seed)
    made = Student(StudentConfig(**{"widths": (4, 6), "blocks": (1, 1, 1), "levels": 2} | shape))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "project" in name or "shift" in name:
                parameter.normal_(std=0.1)
    return made.eval()


LARGE = {"widths": (7, 6), "blocks": (2, 1, 3)}


@torch.no_grad()
def test_the_larger_one_restores_the_same_and_can_do_more():
    small, large = student(0), student(1, **LARGE)
    for blocks in (large.encoder, large.decoder):  # extra blocks of a fresh student
        for block in blocks:
            block.project.weight.zero_()
            block.project.bias.zero_()
    grow(small, large)
    x_BCHW = torch.rand(2, 3, 32, 32)
    w_BSN = small.route(x_BCHW)
    assert torch.equal(w_BSN, large.route(x_BCHW))
    before = small.restore(x_BCHW, w_BSN)
    torch.testing.assert_close(large.restore(x_BCHW, w_BSN), before, rtol=0, atol=1e-6)
    assert not torch.allclose(before, x_BCHW, atol=1e-3)
    large.tail.weight[:, 4:] += 0.1  # a new channel carries something of its own
    assert (large.restore(x_BCHW, w_BSN) - before).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("own", [(), PARTS], ids=["shared", "own"])
def test_prompts_that_are_new_change_nothing_at_first(own):
    small = student(0, prompted=("middle",), own=own)
    large = student(1, prompted=("middle", "decoder"), own=own)
    grow(small, large)
    x_BCHW = torch.rand(5, 3, 32, 32)
    before = each(small, x_BCHW)
    torch.testing.assert_close(each(large, x_BCHW), before, rtol=0, atol=1e-6)
    for name, parameter in large.named_parameters():
        if "decoder" in name and name.endswith("scale_NC"):
            parameter += 0.5
    assert ((each(large, x_BCHW) - before).abs().amax((1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize(
    "extra", [{}, {"prompted": ("middle", "decoder")}], ids=["", "more prompts"]
)
def test_every_new_weight_can_learn(extra):
    small, large = (
        student(0, **({"prompted": ("middle",)} if extra else {})),
        student(1, **LARGE, **extra),
    )
    grow(small, large)
    x_BCHW = torch.rand(1, 3, 32, 32)
    w_BSN = torch.full((1, 1, 10), 0.1)
    for _ in range(2):  # what reads a new channel is zero at first, and so is its gradient
        large.zero_grad()
        large.restore(x_BCHW, w_BSN).square().mean().backward()
        with torch.no_grad():
            for parameter in large.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad.sign()
    still = [
        name
        for name, parameter in large.named_parameters()
        if not name.startswith("router.") and not parameter.grad.abs().sum()
    ]
    assert not still


def test_another_router_stays():
    small, large = student(0), student(1, **LARGE, router_widths=(8, 8), router_hidden=16)
    before = {name: value.clone() for name, value in large.router.state_dict().items()}
    grow(small, large)
    assert all(
        torch.equal(value, before[name]) for name, value in large.router.state_dict().items()
    )
    torch.testing.assert_close(large.head.weight[:4], small.head.weight)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"widths": (3, 6)}, r"widths \(4, 6\) and blocks \(1, 1, 1\) do not fit"),
        ({"blocks": (1, 0, 1)}, "do not fit into"),
        ({"levels": 3}, "differ in more than widths, blocks, prompted and own parts"),
        ({"prompted": ("middle",)}, "the prompts of decoder, encoder would be lost"),
    ],
)
def test_what_does_not_fit_is_told(shape, message):
    with pytest.raises(ValueError, match=message):
        grow(student(0), student(1, **shape))


def owning(seed, own, **shape):
    """A student that looks trained, of which each degradation has parts for itself."""
    made = student(seed, own=own, **shape)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.startswith("own."):
                parameter += 0.1 * torch.randn_like(parameter)
    return made


def each(one, x_BCHW):
    """Restorations of all degradations in turn."""
    label_D = torch.arange(len(one.config.degradations))
    w_DSN = one.forced(one.logits(x_BCHW), label_D)
    return one.restore(x_BCHW, w_DSN)


@torch.no_grad()
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), PARTS),
        ((), ("encoder", "tail")),
        (("tail",), ("head", "middle", "tail")),
        (("tail",), {**dict.fromkeys(DEGRADATIONS, ("tail",)), "blur": ("tail", "middle.0")}),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [{}, {"widths": (7, 6)}], ids=["as wide", "wider"])
def test_what_degradations_come_to_own_restores_the_same(before, after, shape):
    small, large = owning(0, before), owning(1, after, **shape)
    x_BCHW = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    x_BCHW = x_BCHW.expand(5, -1, -1, -1)
    expected = each(small, x_BCHW)
    assert not torch.allclose(each(large, x_BCHW), expected, atol=1e-2)
    grow(small, large)
    assert torch.equal(small.logits(x_BCHW), large.logits(x_BCHW))
    torch.testing.assert_close(each(large, x_BCHW), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_one_degradation_learns_then_no_other_bears():
    small, large = student(0), owning(1, PARTS)
    grow(small, large)
    x_BCHW = torch.rand(1, 3, 32, 32).expand(5, -1, -1, -1)
    before = each(large, x_BCHW)
    for parameter in large.own[2].parameters():
        parameter += 0.1
    changed = (each(large, x_BCHW) - before).abs().amax((1, 2, 3)) > 1e-3
    assert changed.tolist() == [False, False, True, False, False]


@torch.no_grad()
def test_what_one_degradation_owns_is_taken_from_another_training():
    source, into = owning(0, ("tail", "middle")), owning(1, ("tail", "middle"))
    with pytest.raises(ValueError, match="which degradations share, differs"):
        take_own(source, into, "haze")
    into.load_state_dict(source.state_dict())
    for parameter in source.own.parameters():
        parameter += 0.1
    x_BCHW = torch.rand(1, 3, 32, 32).expand(5, -1, -1, -1)
    before, theirs = each(into, x_BCHW), each(source, x_BCHW)
    take_own(source, into, "haze")
    after = each(into, x_BCHW)
    assert torch.equal(after[3], theirs[3]) and not torch.equal(after[3], before[3])
    others = [0, 1, 2, 4]
    assert torch.equal(after[others], before[others])
    with pytest.raises(ValueError, match="choose from noise, blur"):
        take_own(source, into, "snow")
    with pytest.raises(ValueError, match=r"it has no|differs"):
        take_own(owning(0, ("tail",)), into, "haze")
    with pytest.raises(ValueError, match="owns nothing"):
        take_own(source, owning(0, {"rain": ("tail",)}), "haze")


@torch.no_grad()
def test_what_is_taken_from_a_smaller_one_restores_as_it_did():
    source = owning(0, ("tail", "decoder"))
    own = dict.fromkeys(DEGRADATIONS, ("tail", "decoder.0")) | {"noise": ("tail", "decoder")}
    into = Student(replace(source.config, own=own, blocks=(1, 1, 2)))
    grow(source, into)
    for name, parameter in into.named_parameters():  # what only noise has, and learned
        if name.startswith("own.0.decoder.1"):
            parameter += 0.1
    for parameter in source.own.parameters():
        parameter += 0.1
    x_BCHW = torch.rand(1, 3, 32, 32).expand(5, -1, -1, -1)
    before, theirs = each(into, x_BCHW), each(source, x_BCHW)
    state = torch.random.get_rng_state()
    take_own(source, into, "haze")
    assert torch.equal(torch.random.get_rng_state(), state)
    after = each(into, x_BCHW)
    torch.testing.assert_close(after[3], theirs[3], rtol=0, atol=1e-6)
    assert (after[3] - before[3]).abs().max() > 1e-2
    others = [0, 1, 2, 4]
    assert torch.equal(after[others], before[others])
    # Now the block that the others share does something.
    into.get_submodule("decoder.1").project.weight.add_(0.1)
    with pytest.raises(ValueError, match=r"decoder\.1\.project\.weight.* differs"):
        take_own(source, into, "haze")


def test_what_is_owned_cannot_be_shared_again():
    for own in ((), ("head",)):
        with pytest.raises(ValueError, match="what noise owns, tail, cannot be shared again"):
            grow(owning(0, ("tail",)), owning(1, own))
