import pytest
import torch
from pydantic import ValidationError

from cpl_edge.errors import UserError
from cpl_edge.models.zoo import create_student, load_student, save_student
from cpl_edge.train.recipe import Shape, StudentRecipe
from cpl_edge.train.task import StudentTask, balance, middle_of


def test_the_middle_leaves_out_the_context():
    x_BCHW = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(middle_of(x_BCHW, 2), x_BCHW[..., 2:4, 2:4])
    assert torch.equal(middle_of(x_BCHW, 6), x_BCHW)


def test_losses_are_float32_and_named():
    task = StudentTask(StudentRecipe(student="nano", routing_weight=0.5))
    x_BCHW = torch.rand(2, 3, 24, 24)
    total, parts = task(x_BCHW, x_BCHW, torch.tensor([0, 4]), 16, torch.Generator())
    assert list(parts) == ["loss", "routing"]
    assert total.dtype == torch.float32
    assert torch.allclose(total, parts["loss"] + 0.5 * parts["routing"])


def test_a_student_starts_from_trained_weights(tmp_path):
    path = tmp_path / "trained.safetensors"
    trained = create_student("nano", seed=7)
    save_student(trained, path)
    task = StudentTask(StudentRecipe(student="nano", weights=str(path)))
    state = task.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in trained.state_dict().items())
    large = StudentTask(StudentRecipe(student="s", weights=str(path))).network
    x_BCHW = torch.rand(1, 3, 32, 32)
    w_BSN = trained.route(x_BCHW)
    expected = trained.restore(x_BCHW, w_BSN)
    torch.testing.assert_close(large.restore(x_BCHW, w_BSN), expected, rtol=0, atol=1e-6)
    save_student(create_student("s"), path)
    with pytest.raises(UserError, match="does not fit this recipe: widths"):
        StudentTask(StudentRecipe(student="nano", weights=str(path)))
    with pytest.raises(UserError, match="does not exist"):
        StudentTask(StudentRecipe(student="nano", weights=str(tmp_path / "no.safetensors")))


def test_a_faster_student_starts_from_what_fits(tmp_path):
    path = tmp_path / "trained.safetensors"
    trained = create_student("nano", seed=7)
    with torch.no_grad():
        for block in trained.decoder:
            block.project.weight.normal_(std=0.1)
    save_student(trained, path)
    shape = Shape(blocks=(0, 1, 2), down=2, prompted=("middle",))
    with pytest.raises(UserError, match=r"does not fit this recipe: .*'cut' leaves out"):
        StudentTask(StudentRecipe(student="nano", weights=str(path), shape=shape))
    recipe = StudentRecipe(student="nano", weights=str(path), shape=shape, cut=True)
    network = StudentTask(recipe).network
    assert (network.config.blocks, network.config.down) == ((0, 1, 2), 2)
    for name in ("head.weight", "middle.0.scale_NC", "decoder.1.project.weight", "tail.weight"):
        assert torch.equal(network.get_parameter(name), trained.get_parameter(name))
    assert torch.equal(network.down.weight, trained.down.weight[..., 1:, 1:])


SMALL = {"widths": [4, 6], "blocks": [1, 1, 1], "levels": 1}


def batch():
    x_BCHW = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    return x_BCHW, x_BCHW.flip(0), torch.arange(5), 24, torch.Generator()


def test_a_shape_replaces_the_presets(task_of):
    config = task_of(shape={"prompt": "soft"}, selection="router").network.config
    assert (config.widths, config.levels, config.prompt) == ((4, 6), 1, "soft")
    assert config.router_hidden == 48


def test_the_label_or_the_router_selects(task_of):
    by_label, by_router = task_of(), task_of(selection="router")
    x_BCHW, _, label_B, crop, _ = batch()
    labelled, logits_BSL = by_label.restore(x_BCHW, label_B, crop)
    routed, same_BSL = by_router.restore(x_BCHW, label_B, crop)
    assert torch.equal(logits_BSL, same_BSL)
    network = by_label.network
    assert torch.equal(labelled, network.restore(x_BCHW, network.forced(logits_BSL, label_B)))
    assert torch.equal(routed, network.restore(x_BCHW, network.select(logits_BSL)))
    assert not torch.equal(labelled, routed)


@pytest.mark.parametrize("trained", ["all", "router", "body"])
def test_what_is_trained_is_the_recipes_choice(task_of, trained):
    task = task_of(trained=trained)
    task(*batch())[0].backward()
    learns = {name.startswith("router.") for name, p in task.network.named_parameters()
              if p.grad is not None}  # fmt: skip
    assert learns == {"all": {True, False}, "router": {True}, "body": {False}}[trained]


@pytest.mark.parametrize("prompt", ["soft", "sparse"])
def test_without_labels_the_router_learns_by_what_it_selects(task_of, prompt):
    task = task_of(shape={"prompt": prompt}, selection="router", routing_weight=0.0)
    task(*batch())[0].backward()
    assert task.network.router.head.weight.grad.abs().sum() > 0
    with pytest.raises(UserError, match=f'{prompt} prompts are .* add selection = "router"'):
        task_of(shape={"prompt": prompt})


def test_with_labels_alone_the_router_learns_from_them_alone(task_of):
    task = task_of(routing_weight=0.0)
    task(*batch())[0].backward()
    assert task.network.router.head.weight.grad.abs().sum() == 0


def test_without_prompts_there_is_only_the_reconstruction(task_of):
    total, parts = task_of(shape={"prompt": "none"})(*batch())
    assert list(parts) == ["loss"]
    assert torch.equal(total, parts["loss"])


def test_balance_is_one_of_the_losses(task_of):
    task = task_of(shape={"prompt": "sparse"}, selection="router", routing_weight=0.0,
                   balance_weight=0.3)  # fmt: skip
    total, parts = task(*batch())
    assert list(parts) == ["loss", "routing", "balance"]
    assert torch.allclose(total, parts["loss"] + 0.3 * parts["balance"])


def test_balance_is_1_where_choices_are_even_and_n_where_all_are_one():
    assert float(balance(torch.eye(4) * 50)) == pytest.approx(1)
    assert float(balance(torch.eye(4)[[2, 2, 2]] * 50)) == pytest.approx(4)
    logits_BN = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    p = logits_BN.softmax(-1).mean(0)
    unevenness = balance(logits_BN)
    torch.testing.assert_close(unevenness, 2 * (2 * p[0] + p[1]) / 3)
    unevenness.backward()
    assert logits_BN.grad[0, 0] > 0  # lowers the choice that is taken too often


def test_an_impossible_shape_is_told():
    with pytest.raises(UserError, match="no student nano of this shape"):
        create_student("nano", shape={"prompt": "hard"})


def test_saved_weights_keep_a_share_of_those_it_started_from(task_of, tmp_path):
    path = tmp_path / "start.safetensors"
    save_student(task_of().network, path)
    task = task_of(weights=str(path), keep=0.25)
    start = load_student(path).state_dict()
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.copy_(parameter * 0 + 1)
    task.save(task.network, tmp_path / "mean.safetensors")
    for name, value in load_student(tmp_path / "mean.safetensors").state_dict().items():
        torch.testing.assert_close(value, 0.75 + 0.25 * start[name])
    assert all((p == 1).all() for p in task.network.parameters())  # training goes on from there
    with pytest.raises(ValidationError, match="'keep' keeps a share of 'weights': give both"):
        StudentRecipe(student="nano", keep=0.5)
