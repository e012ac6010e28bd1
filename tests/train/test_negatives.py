import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.train.loop import Trainer
from cpl_edge.train.negatives import draw_others

SPARSE = {"shape": {"prompt": "sparse"}, "selection": "router"}


@pytest.fixture(name="task_of")
def tasks_with_a_contrast(task_of):
    def make(**values):
        shape = {"levels": 2, **values.pop("shape", {})}
        return task_of(shape=shape, **{"negatives": 2, **values})

    return make


def batch():
    x_BCHW = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    return x_BCHW, x_BCHW.flip(0), torch.arange(5), 16, torch.Generator().manual_seed(2)


def test_drawn_are_others_all_different_and_equally_often():
    selected_B = torch.arange(5).repeat(400)
    drawn_KB = draw_others(selected_B, 2, 5, torch.Generator().manual_seed(0)).view(2, -1)
    assert not (drawn_KB == selected_B).any()
    assert not (drawn_KB[0] == drawn_KB[1]).any()
    of_third = drawn_KB[:, selected_B == 2].flatten().bincount(minlength=5)
    assert of_third.tolist()[2] == 0
    assert of_third[[0, 1, 3, 4]].min() > 150  # of 200 expected
    everything = draw_others(selected_B, 4, 5, torch.Generator()).view(4, -1)
    assert torch.equal(torch.cat([everything, selected_B[None]]).sort(0).values[:, 0],
                       torch.arange(5))  # fmt: skip


@pytest.mark.parametrize("selection", ["label", "router"])
def test_a_wrong_degradation_has_its_own_levels_by_the_router(task_of, selection):
    task = task_of(negatives=4, selection=selection)
    network, (x_BCHW, _, label_B, _, generator) = task.network, batch()
    logits_BSL = network.logits(x_BCHW)
    selected_B = label_B if selection == "label" else network.route(x_BCHW)[:, 0].argmax(-1) // 2
    w_LSN = task.contrast.wrong_weights(network, logits_BSL, selected_B, generator)
    assert not w_LSN.requires_grad
    w_KBDM = w_LSN.view(4, 5, 5, 2)
    share_KBD = w_KBDM.sum(-1)
    torch.testing.assert_close(share_KBD.sum(-1), torch.ones(4, 5))
    assert (share_KBD.gather(2, selected_B.expand(4, 5)[..., None]) == 0).all()
    once_BD = share_KBD.sum(0)  # all four others, once each
    torch.testing.assert_close(
        once_BD, 1 - torch.nn.functional.one_hot(selected_B, 5).float(), atol=1e-6, rtol=0
    )
    wrong_B = share_KBD[0].argmax(-1)
    assert torch.equal(w_LSN[:5], network.forced(logits_BSL, wrong_B))


@pytest.mark.parametrize("weight", ["router", "selected", "one"])
def test_of_sparse_prompts_another_one_is_wrong(task_of, weight):
    task = task_of(**SPARSE, negatives=9, negative_weight=weight)
    network, (x_BCHW, *_, generator) = task.network, batch()
    logits_BSL = network.logits(x_BCHW)
    right_BN = network.select(logits_BSL)[:, 0]
    selected_B = right_BN.argmax(-1)
    w_LSN = task.contrast.wrong_weights(network, logits_BSL, selected_B, generator)
    w_KBN = w_LSN.view(9, 5, 10)
    assert ((w_KBN > 0).sum(-1) == 1).all()
    expected_BN = {
        "router": logits_BSL[:, 0].softmax(-1),
        "selected": right_BN.amax(-1, keepdim=True).expand(5, 10),
        "one": torch.ones(5, 10),
    }[weight]
    expected_BN = expected_BN.scatter(1, selected_B[:, None], 0)
    torch.testing.assert_close(w_KBN.sum(0), expected_BN)


@pytest.mark.parametrize("values", [{"selection": "label"}, {"selection": "router"}, SPARSE])
def test_the_selected_prompts_are_never_restored_with(task_of, values, monkeypatch):
    task = task_of(**values, negatives=3)
    used = []
    restore = task.network.restore

    def spy(x_BCHW, w_BSN):
        used.append((torch.is_grad_enabled(), x_BCHW, w_BSN))
        return restore(x_BCHW, w_BSN)

    monkeypatch.setattr(task.network, "restore", spy)
    x_BCHW, y_BCHW, label_B, crop, generator = batch()
    task(x_BCHW, y_BCHW, label_B, crop, generator)
    (grad, _, right_BSN), (no_grad, many_LCHW, wrong_LSN) = used  # all negatives in one pass
    assert (grad, no_grad) == (True, False)
    assert torch.equal(many_LCHW, x_BCHW[..., 4:20, 4:20].repeat(3, 1, 1, 1))
    # Nothing that restores an image rightly has a part in restoring it wrongly.
    assert (right_BSN.repeat(3, 1, 1) * wrong_LSN == 0).all()
    assert (right_BSN.sum(-1) > 0).all()
    assert (wrong_LSN.sum(-1) > 0).all()


def test_the_term_falls_when_outputs_move_apart(task_of):
    task = task_of()
    y_BCHW = torch.rand(2, 3, 16, 16)
    away = torch.rand(2, 3, 16, 16)
    near, far = (task.contrast.term(y_BCHW, [y_BCHW.lerp(away, s)] * 2) for s in (0.1, 0.9))
    assert far < near < 0
    assert task.contrast.term(y_BCHW, [y_BCHW, y_BCHW]) == 0


def test_it_is_part_of_what_is_minimised(task_of):
    task = task_of(cpr_weight=10.0)
    total, parts = task(*batch())
    assert list(parts) == ["loss", "routing", "cpr"]
    assert parts["cpr"] < 0
    expected = parts["loss"] + 0.01 * parts["routing"] + 10 * parts["cpr"]
    assert total.item() == pytest.approx(expected.item())
    assert task_of().cpr_weight == 0.0005
    total.backward()
    plain = task_of(negatives=0)
    plain(*batch())[0].backward()
    assert plain.contrast is None
    gradients = [one.network.head.weight.grad for one in (task, plain)]
    assert not torch.allclose(*gradients)
    assert all(parameter.grad is None for parameter in task.contrast.parameters())


def test_no_gradient_reaches_what_restores_wrongly(task_of):
    task = task_of(selection="label", routing_weight=0.0)
    x_BCHW, y_BCHW, label_B, crop, generator = batch()
    label_B = torch.zeros_like(label_B)  # noise alone is right: prompts 0 and 1
    task(x_BCHW, y_BCHW, label_B, crop, generator)[1]["cpr"].backward()
    prompts = [p for n, p in task.network.named_parameters() if p.shape[:1] == (10,)]
    prompts += [p.mT for n, p in task.network.named_parameters() if p.shape[1:] == (10,)]
    assert prompts
    assert all((p.grad[2:] == 0).all() for p in prompts if p.grad is not None)
    assert any((p.grad[:2] != 0).any() for p in prompts if p.grad is not None)


def test_with_a_teacher_the_feature_term_sees_the_right_pass(task_of, teacher):
    distil = {"teacher": str(teacher), "output": 1.0, "feature": 0.5, "routing": 0.1}
    tasks = [task_of(distil=distil, negatives=k) for k in (0, 3)]
    (_, plain), (total, parts) = (task(*batch()) for task in tasks)
    assert list(parts) == ["loss", "routing", "cpr", "output", "feature", "transfer"]
    for name, value in plain.items():
        assert parts[name].item() == pytest.approx(value.item())
    total.backward()
    assert all(p.grad is not None for p in tasks[1].network.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": {"prompt": "soft"}, "selection": "router"}, "not 'soft': choose prompt"),
        ({"shape": {"prompt": "none"}}, "not 'none': choose prompt"),
        ({"negatives": 5}, "of 5 degradations one is right, choose at most 4"),
        ({**SPARSE, "negatives": 10}, "of 10 prompts one is right, choose at most 9"),
        ({"negative_weight": "one"}, 'negative_weight is for prompt = "sparse"'),
        ({"vgg": "nothing.pth"}, "nothing.pth"),
    ],
)
def test_recipes_that_cannot_be_are_told_in_one_line(task_of, values, message):
    with pytest.raises(UserError, match=message) as caught:
        task_of(**values)
    assert "\n" not in str(caught.value)


def test_stopped_and_resumed_it_takes_the_steps_of_one_run(task_of, photo, tmp_path):
    def trainer(folder):
        stages = [{"crop": 16, "batch": 5, "context": 24}]
        task = task_of(steps=4, stages=stages, cpr_weight=0.1, ema=0.9)
        return Trainer(task, ImageBank([photo]), None, tmp_path / folder)

    whole, stopped = trainer("whole"), trainer("stopped")
    assert whole.run()
    while not stopped.run(max_minutes=0):
        stopped = trainer("stopped")
    one, other = ((f / "student.safetensors").read_bytes() for f in (whole.folder, stopped.folder))
    assert one == other
    assert json.loads((whole.folder / "log.jsonl").read_text())["cpr"] < 0
