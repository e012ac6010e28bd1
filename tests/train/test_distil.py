import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.errors import UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import create_student, load_student, save_student
from cpl_edge.train.distil import DistilTask, PromptMatching, attention
from cpl_edge.train.loop import Trainer
from cpl_edge.train.recipe import Distillation, Stage, StudentRecipe
from cpl_edge.train.tables import Shape
from cpl_edge.train.task import StudentTask

ALL = {"output": 1.0, "frequency": 0.5, "feature": 0.1, "routing": 0.2}
NAMES = {"output": "output", "frequency": "frequency", "feature": "feature", "routing": "transfer"}


def recipe(teacher, **weights):
    plain = dict.fromkeys(ALL, 0.0)
    return StudentRecipe(
        student="nano",
        steps=4,
        precision="fp32",
        stages=[Stage(crop=16, batch=5, context=24)],
        distil=Distillation(teacher=str(teacher), **{**plain, **weights}),
    )


def task(*args, **weights):
    made = recipe(*args, **weights)
    return DistilTask(made, made.distil)


def owning_task(*args, **weights):
    """The same for a student of which each degradation has parts of its own."""
    made = recipe(*args, **weights).model_copy(update={"shape": Shape(own=("head", "tail"))})
    return DistilTask(made, made.distil)


@pytest.fixture(name="crops")
def five_crops(photo):
    generator = torch.Generator().manual_seed(0)
    kinds = StudentTask(StudentRecipe(student="nano")).degradations
    return *ImageBank([photo]).degraded(kinds, 5, 24, generator), 16, generator


@pytest.mark.parametrize("word", ALL)
def test_each_term_is_an_ablation(teacher, crops, word):
    total, parts = task(teacher, **{word: 0.5})(*crops)
    plain, _ = StudentTask(recipe(teacher))(*crops)
    assert list(parts) == ["loss", "routing", NAMES[word]]
    assert parts[NAMES[word]] > 0
    assert total.item() == pytest.approx((plain + 0.5 * parts[NAMES[word]]).item())


@pytest.fixture(name="larger", scope="module")
def larger_student(tmp_path_factory):
    student = create_student("s", 1)
    with torch.no_grad():  # as after training: no convolution makes zeros
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    path = tmp_path_factory.mktemp("larger") / "larger.safetensors"
    save_student(student, path)
    return path


def test_a_larger_student_teaches_what_it_restores_when_told(larger, crops):
    one, (x_BCHW, _, label_B, crop, _) = task(larger, **ALL), crops
    answers = one.ask(x_BCHW, crop, label_B)
    student = load_student(larger)
    logits_BSL = student.logits(x_BCHW)  # of all of the crop
    w_BSN = student.forced(logits_BSL, label_B)
    expected = student.restore(x_BCHW[..., 4:20, 4:20], w_BSN)
    torch.testing.assert_close(answers["taught"], expected)
    p_BD = logits_BSL[:, 0, : len(one.degradations)].softmax(-1)
    torch.testing.assert_close(answers["p_SBN"], p_BD[None])
    assert answers["t1"].shape == (5, 8 * 8)
    assert answers["t2"].shape == (5, 4 * 4)
    total, parts = one(*crops)
    total.backward()
    assert list(parts) == ["loss", "routing", *NAMES.values()]
    assert all(p.grad is None for p in one.teacher.parameters())
    assert one.matching.match().tolist() == [[0, 1, 2, 3, 4]]


def test_a_student_teaches_only_the_same_degradations(tmp_path):
    other = Student(StudentConfig(degradations=("noise", "rain")))
    save_student(other, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="does not know the degradations noise, blur, rain"):
        task(tmp_path / "other.safetensors", output=1.0)


@pytest.fixture(name="owning")
def student_of_several(tmp_path):
    student = create_student("nano", shape={"own": ["head", "tail"]}).requires_grad_(False)
    for parameter in student.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    save_student(student, tmp_path / "owning.safetensors")
    return student.eval(), tmp_path / "owning.safetensors"


def test_a_student_of_several_networks_teaches_each_degradation_with_its_own(owning, crops):
    (student, path), (x_BCHW, _, label_B, crop, _) = owning, crops
    one = task(path, output=1.0, routing=0.2)
    taught = one.ask(x_BCHW, crop, label_B)["taught"]
    w_BSN = student.forced(student.logits(x_BCHW), label_B)
    for i, index in enumerate(label_B.tolist()):
        middle, plain = x_BCHW[i : i + 1, :, 4:20, 4:20], student.of(index).requires_grad_(False)
        expected = plain.restore(middle, w_BSN[i : i + 1])
        torch.testing.assert_close(taught[i : i + 1], expected, atol=1e-5, rtol=1e-5)
    assert one(*crops)[1]["output"] > 0


def test_a_student_of_several_networks_learns_from_a_teacher(teacher, crops):
    one = owning_task(teacher, output=1.0, frequency=0.5, routing=0.2)
    one(*crops)[0].backward()
    assert all(one.network.own[d].tail.weight.grad.abs().sum() > 0 for d in range(5))


def test_decoders_of_several_networks_are_not_compared(teacher, owning, crops):
    told = "each degradation has its own head, tail: leave feature out"
    with pytest.raises(UserError, match=told):
        task(owning[1], feature=0.1)
    with pytest.raises(UserError, match=told):
        owning_task(teacher, feature=0.1)


def test_gradients_reach_the_student_alone(teacher, crops):
    one = task(teacher, **ALL).train()
    total, _ = one(*crops)
    total.backward()
    assert not one.teacher.training
    assert all(p.grad is None for p in one.teacher.parameters())
    assert all(p.grad is not None for p in one.network.parameters())


def test_the_feature_term_alone_moves_the_decoder(teacher, crops):
    one = task(teacher, feature=1.0)
    one(*crops)[1]["feature"].backward()
    assert one.network.head.weight.grad.abs().max() > 0
    assert one.network.tail.weight.grad is None


def test_an_attention_map_has_no_channels_and_no_scale():
    h_BCHW = torch.rand(2, 7, 4, 6)
    map_BP = attention(h_BCHW)
    assert map_BP.shape == (2, 24)
    torch.testing.assert_close(map_BP.square().mean(1), torch.ones(2))
    torch.testing.assert_close(attention(3 * h_BCHW), map_BP)


def routes(index_SB, prompts=5):
    return torch.nn.functional.one_hot(index_SB, prompts).float()


def test_prompts_are_matched_whatever_their_order():
    matching = PromptMatching(2, 5, 5)
    orders = torch.tensor([[3, 1, 4, 0, 2], [0, 4, 2, 1, 3]])
    label_B = torch.arange(5).repeat(4)
    matching.observe(routes(orders[:, label_B]), label_B)
    assert torch.equal(matching.match(), orders)


def test_shared_prompts_give_way_to_the_best_sum():
    # Prompt 0 serves degradations 0 (often) and 1 (less); the free prompt goes to the latter.
    matching = PromptMatching(1, 2, 2)
    label_B = torch.tensor([0, 0, 0, 1, 1])
    matching.observe(routes(torch.zeros(1, 5, dtype=torch.long), 2), label_B)
    assert matching.match().tolist() == [[0, 1]]


def test_the_divergence_is_0_where_the_student_agrees_and_falls_on_the_way():
    matching = PromptMatching(1, 3, 3)
    order, label_B = torch.tensor([[2, 0, 1]]), torch.arange(3)
    taught = routes(order[:, label_B], 3)
    matching.observe(taught, label_B)
    eye = torch.eye(3)
    assert matching.divergence(taught, 40 * eye).item() == pytest.approx(0, abs=1e-5)
    values = [matching.divergence(taught, size * eye).item() for size in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(torch.tensor(3.0).log().item(), abs=1e-4)


@pytest.mark.parametrize(("prompts", "degradations"), [(3, 5), (9, 5), (0, 5)])
def test_what_cannot_be_matched_is_refused(prompts, degradations):
    with pytest.raises(UserError, match="leave routing out"):
        PromptMatching(3, prompts, degradations)


def test_more_prompts_than_degradations_are_matched():
    matching = PromptMatching(1, 4, 2)
    label_B = torch.tensor([0, 1])
    matching.observe(routes(torch.tensor([[3, 1]]), 4), label_B)
    assert matching.match().tolist() == [[3, 1]]


def test_stopped_and_resumed_it_takes_the_steps_of_one_run(teacher, photo, tmp_path):
    def trainer(folder):
        return Trainer(task(teacher, **ALL), ImageBank([photo]), None, tmp_path / folder)

    whole, stopped = trainer("whole"), trainer("stopped")
    whole.run()
    while not stopped.run(max_minutes=0):
        stopped = trainer("stopped")
    rows = [
        [{**json.loads(r), "seconds": 0} for r in (f / "log.jsonl").read_text().splitlines()]
        for f in (whole.folder, stopped.folder)
    ]
    assert rows[0] == rows[1]
    assert set(NAMES.values()) <= rows[0][-1].keys()
    one, other = ((f / "student.safetensors").read_bytes() for f in (whole.folder, stopped.folder))
    assert one == other


def test_crops_must_suit_the_teacher(teacher):
    with pytest.raises(ValueError, match="multiples of 8"):
        StudentRecipe(stages=[Stage(crop=20)], distil=Distillation(teacher=str(teacher)))


@pytest.mark.parametrize("word", ["output", "frequency", "feature"])
def test_of_an_untaught_degradation_nothing_is_learned_from_the_teacher(teacher, crops, word):
    x_BCHW, _, label_B, crop, _ = crops
    alone = task(teacher, **{word: 0.5}, untaught=("lowlight",))
    dark = label_B == alone.degradations.index("lowlight")
    answers = alone.ask(x_BCHW, crop, label_B)
    spoilt = {n: v + dark.view(-1, *[1] * (v.ndim - 1)) for n, v in answers.items()}
    own, others = [], []
    for said in (answers, spoilt):
        alone.ask = lambda *_, said=said: said
        own.append(alone(*crops)[1][word])
        asked = task(teacher, **{word: 0.5})
        asked.ask = alone.ask
        others.append(asked(*crops)[1][word])
    assert own[0] == own[1]
    assert others[0] != others[1]


def test_the_clean_image_stands_in_for_the_teacher(teacher, crops):
    every = tuple(StudentTask(StudentRecipe(student="nano")).degradations)
    _, parts = task(teacher, output=1.0, untaught=every)(*crops)
    assert parts["output"] == parts["loss"]  # the loss of the student itself is L1, too
    _, parts = task(teacher, feature=1.0, untaught=every)(*crops)
    assert parts["feature"] == 0


def test_untaught_names_degradations(teacher):
    with pytest.raises(UserError, match="untaught names fog: this student knows noise, blur"):
        task(teacher, output=1.0, untaught=("fog",))
