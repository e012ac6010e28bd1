import pytest
import torch

from cpl_edge.models.cut import cut
from cpl_edge.models.grow import grow
from cpl_edge.models.shape import PARTS
from cpl_edge.models.student import PlainBlock, Student, StudentConfig


def student(seed, **shape):
    """A student whose every weight matters: a fresh one's blocks are the identity."""
    torch.manual_seed(seed)
    made = Student(StudentConfig(**{"widths": (4, 6), "blocks": (2, 1, 2), "levels": 2} | shape))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "project" in name or "scale" in name or "shift" in name:
                parameter.normal_(std=0.1)
    return made.eval()


@pytest.mark.parametrize("own", [(), PARTS], ids=["shared", "own"])
@torch.no_grad()
def test_what_is_left_is_as_it_was_without_the_last_blocks(own):
    whole = student(0, own=own)
    left = cut(whole, (1, 1, 1), ("encoder", "middle", "decoder"))
    assert left.config.blocks == (1, 1, 1)
    x_BCHW, w_BSN = torch.rand(1, 3, 32, 32), torch.tensor([[[0.0] * 8 + [0.4, 0.6]]])
    assert not torch.allclose(left.restore(x_BCHW, w_BSN), whole.restore(x_BCHW, w_BSN), atol=1e-3)
    for home in whole.own if own else [whole]:  # what was cut comes to do nothing
        for part in (home.encoder, home.decoder):
            part[1].project.weight.zero_()
            part[1].project.bias.zero_()
    assert torch.equal(left.restore(x_BCHW, w_BSN), whole.restore(x_BCHW, w_BSN))
    assert torch.equal(left.logits(x_BCHW), whole.logits(x_BCHW))


@pytest.mark.parametrize(("own", "weights"), [((), [0.1] * 10), (PARTS, [0.0] * 8 + [0.5, 0.5])])
@torch.no_grad()
def test_blocks_without_prompts_keep_the_mean_of_them(own, weights):
    whole = student(0, own=own)
    left = cut(whole, (2, 1, 2), ("middle",))
    assert left.config.prompted == ("middle",)
    home = left.own[4] if own else left
    assert isinstance(home.encoder[0], PlainBlock)
    x_BCHW, w_BSN = torch.rand(1, 3, 32, 32), torch.tensor([[weights]])
    expected = whole.restore(x_BCHW, w_BSN)
    torch.testing.assert_close(left.restore(x_BCHW, w_BSN), expected, rtol=0, atol=1e-5)
    strong = w_BSN + torch.tensor([0.0] * 8 + [0.5, -0.5])  # the middle still tells levels apart
    assert not torch.allclose(left.restore(x_BCHW, strong), expected, atol=1e-4)


@pytest.mark.parametrize("own", [(), PARTS], ids=["shared", "own"])
@torch.no_grad()
def test_of_a_kernel_that_halves_what_reads_new_pixels_is_left(own):
    whole = student(0, own=own)
    left = cut(whole, (2, 1, 2), ("encoder", "middle", "decoder"), down=2)
    assert left.config.down == 2
    x_BCHW, w_BSN = torch.rand(1, 3, 32, 40), torch.tensor([[[0.0] * 8 + [0.4, 0.6]]])
    assert not torch.allclose(left.restore(x_BCHW, w_BSN), whole.restore(x_BCHW, w_BSN), atol=1e-3)
    for home in whole.own if own else [whole]:
        home.down.weight[..., 0, :] = 0
        home.down.weight[..., 0] = 0
    expected = whole.restore(x_BCHW, w_BSN)
    torch.testing.assert_close(left.restore(x_BCHW, w_BSN), expected, rtol=0, atol=1e-6)


def test_with_nothing_to_cut_it_is_the_given_one():
    whole = student(0)
    assert cut(whole, (3, 2, 2), ("encoder", "middle", "decoder")) is whole


@torch.no_grad()
def test_what_is_left_can_grow_elsewhere():
    left = cut(student(0, own=PARTS), (1, 3, 1), ("middle",))
    shape = {"blocks": (1, 3, 1), "widths": (6, 8), "prompted": ("middle",), "own": PARTS}
    wide = student(1, **shape)
    for home in wide.own:
        for block in home.middle[1:]:
            block.project.weight.zero_()
            block.project.bias.zero_()
    grow(left, wide)
    x_BCHW, w_BSN = torch.rand(1, 3, 32, 32), torch.tensor([[[0.3, 0.7] + [0.0] * 8]])
    expected = left.restore(x_BCHW, w_BSN)
    torch.testing.assert_close(wide.restore(x_BCHW, w_BSN), expected, rtol=0, atol=1e-5)


def test_some_part_keeps_its_prompts():
    with pytest.raises(ValueError, match="no part would have prompts"):
        cut(student(0, prompted=("middle",)), (2, 1, 2), ("encoder",))


def test_a_single_block_that_is_owned_is_not_cut_away():
    with pytest.raises(ValueError, match=r"own 'middle\.1'"):
        cut(student(0, blocks=(2, 2, 2), own=("middle.1",)), (2, 1, 2), ("middle",))
