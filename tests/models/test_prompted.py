import torch

from cpl_edge.models.prompted import PinnedBlock, PlainBlock, PromptedBlock

N, C, R = 4, 6, 2


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def randomised(block):
    with torch.no_grad():
        for n, parameter in enumerate(block.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=rng(n)) * 0.2)
    return block


@torch.no_grad()
def test_a_fresh_block_is_the_identity_whatever_its_form():
    x_BCHW = torch.randn(2, C, 6, 6, generator=rng())
    w_BN = torch.rand(2, N, generator=rng(1))
    for block in (PlainBlock(C), PromptedBlock(C, N), PromptedBlock(C, N, R)):
        assert torch.equal(block(x_BCHW, w_BN), x_BCHW)


def test_a_fresh_matrix_is_zero_but_learns():
    block = PromptedBlock(C, N, R)
    torch.nn.init.normal_(block.project.weight)
    x_BCHW = torch.randn(2, C, 6, 6, generator=rng())
    plain = PromptedBlock(C, N)
    plain.load_state_dict(block.state_dict(), strict=False)
    w_BN = torch.eye(N)[:2]
    out = block(x_BCHW, w_BN)
    torch.testing.assert_close(out, plain(x_BCHW, w_BN))
    out.square().sum().backward()
    assert (block.u_NCR.grad[:2] != 0).any()
    assert (block.u_NCR.grad[2:] == 0).all()  # of the prompts that were not selected


@torch.no_grad()
def test_the_selected_matrix_is_added_to_the_scales():
    block = randomised(PromptedBlock(C, N, R))
    x_BCHW = torch.randn(2, C, 5, 7, generator=rng(20))
    w_BN = torch.rand(2, N, generator=rng(21))
    for b in range(2):
        u = sum(w_BN[b, n] * block.u_NCR[n] for n in range(N))
        v = sum(w_BN[b, n] * block.v_NRC[n] for n in range(N))
        scale = 1 + sum(w_BN[b, n] * block.scale_NC[n] for n in range(N))
        shift = sum(w_BN[b, n] * block.shift_NC[n] for n in range(N))
        h = block.expand(x_BCHW[b])
        mixed = torch.einsum("oc,chw->ohw", torch.diag(scale) + u @ v, h) + shift[:, None, None]
        expected = x_BCHW[b] + block.project(mixed.clamp(min=0))
        torch.testing.assert_close(block(x_BCHW, w_BN)[b], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_matrix_folds_into_the_first_convolution():
    for rank in (0, R):
        block = randomised(PromptedBlock(C, N, rank))
        x_BCHW = torch.randn(2, C, 6, 6, generator=rng(30))
        w_N = torch.rand(N, generator=rng(31))
        pinned = PinnedBlock(block, w_N)
        expected = block(x_BCHW, w_N.expand(2, N))
        torch.testing.assert_close(
            pinned(x_BCHW, torch.zeros(2, N)), expected, atol=1e-5, rtol=1e-5
        )


@torch.no_grad()
def test_a_plain_block_ignores_the_weights():
    block = randomised(PlainBlock(C))
    x_BCHW = torch.randn(1, C, 6, 6, generator=rng(40))
    assert torch.equal(block(x_BCHW, torch.zeros(1, 0)), block(x_BCHW, torch.ones(1, 9)))
    expected = x_BCHW + block.project(block.expand(x_BCHW).clamp(min=0))
    torch.testing.assert_close(block(x_BCHW, torch.zeros(1, 0)), expected)
