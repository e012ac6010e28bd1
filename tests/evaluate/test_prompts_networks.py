"""Students and teachers as the prompt report sees them: looks, targets and forced prompts."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import save_file
from skimage.data import chelsea

from cpl_edge.errors import UserError

torch = pytest.importorskip("torch")

from cpl_edge.evaluate.prompts_networks import (  # noqa: E402
    Look,
    PromptedStudent,
    PromptedTeacher,
    open_network,
)
from cpl_edge.models.promptir import PRESETS, PromptIR  # noqa: E402
from cpl_edge.models.shape import PARTS  # noqa: E402
from cpl_edge.models.student import Student  # noqa: E402
from cpl_edge.models.teachers import save_teacher  # noqa: E402
from cpl_edge.models.zoo import STUDENTS, create_student, save_student  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", name="x_BCHW")
def cat():
    image = np.ascontiguousarray(chelsea()[100:148, 100:164].transpose(2, 0, 1)[None])
    return torch.from_numpy(image / np.float32(255))


@pytest.fixture(scope="module")
def student():
    student = create_student("nano").eval()
    generator = torch.Generator().manual_seed(0)
    for block in (*student.encoder, *student.middle, *student.decoder):
        block.project.weight.normal_(std=0.05, generator=generator)
        block.scale_NC.normal_(std=0.5, generator=generator)
    return student


def teacher(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = replace(PRESETS["cpl-tiny"], dim=8, blocks=(1, 1, 1, 1), **changes)
        return PromptIR(config).eval()


def look(p, w):
    return Look(np.array(p, float), np.array(w, float))


def test_a_students_looks_are_its_own_routing(student, x_BCHW):
    network = PromptedStudent(student, "x")
    y_BCHW, (seen,) = network.restore(x_BCHW)
    assert torch.equal(y_BCHW, student(x_BCHW))
    assert seen.p_G.sum() == pytest.approx(1) and len(seen.p_G) == 5
    assert seen.w_N == pytest.approx(student.route(x_BCHW)[0, 0].numpy())
    assert seen.by_choice[seen.p_G.argmax()] == pytest.approx(1)
    assert seen.by_choice.sum() == pytest.approx(1)
    assert network.choices == (student.config.degradations,) and len(network.sites) == 1


def test_a_forced_degradation_brings_what_it_owns(x_BCHW):
    student = create_student("nano", shape={"own": PARTS}).eval()
    for parameter in student.own.parameters():
        parameter += 0.02 * torch.randn(parameter.shape)
    network = PromptedStudent(student, "x")
    y_BCHW, looks = network.restore(x_BCHW)
    targets = network.targets({})
    forced = [network.forced(x_BCHW, looks, index) for index in targets.values()]
    for index, one in enumerate(forced):
        torch.testing.assert_close(one, student.told(index)(x_BCHW), atol=1e-5, rtol=0)
        assert all((one - other).abs().max() > 1e-3 for other in forced[:index])
    assert torch.equal(forced[int(looks[0].p_G.argmax())], y_BCHW)


@pytest.mark.parametrize("name", ["noise", "haze"])
def test_a_student_is_forced_as_it_forces_itself(student, x_BCHW, name):
    network = PromptedStudent(student, "x")
    y_BCHW, looks = network.restore(x_BCHW)
    index = network.targets({})[name]
    w_BSN = student.forced(student.logits(x_BCHW), torch.tensor([index]))
    forced = network.forced(x_BCHW, looks, index)
    assert torch.allclose(forced, student.restore(x_BCHW, w_BSN), atol=1e-6)
    own = int(looks[0].p_G.argmax())
    assert torch.allclose(network.forced(x_BCHW, looks, own), y_BCHW, atol=1e-6)
    assert (index == own) == torch.allclose(forced, y_BCHW, atol=1e-6)


@pytest.mark.parametrize("prompt", ["sparse", "soft"])
def test_a_student_without_levels_chooses_among_its_prompts(x_BCHW, prompt):
    student = Student(replace(STUDENTS["nano"], prompt=prompt, levels=2)).eval()
    network = PromptedStudent(student, "x")
    assert network.choices[0][:3] == ("noise 1", "noise 2", "blur 1")
    y_BCHW, (seen,) = network.restore(x_BCHW)
    assert torch.equal(y_BCHW, student(x_BCHW)) and seen.levels_GM is None
    assert seen.p_G.argmax() == seen.by_choice.argmax() and len(seen.p_G) == 10
    assert (seen.w_N > 0).sum() == (1 if prompt == "sparse" else 10)
    assert list(network.targets({})) == list(student.config.degradations)
    assert network.forced(x_BCHW, (seen,), 1).shape == x_BCHW.shape


def test_a_student_without_prompts_has_nothing_to_report():
    with pytest.raises(UserError, match="x has no prompts: there is nothing to report"):
        PromptedStudent(Student(replace(STUDENTS["nano"], prompt="none")), "x")


def test_a_teachers_looks_are_its_routes(x_BCHW):
    network = PromptedTeacher(teacher(), "x")
    y_BCHW, looks = network.restore(x_BCHW)
    expected, routes = network.teacher(x_BCHW, None, True)
    assert torch.equal(y_BCHW, expected) and len(looks) == 3
    for seen, route in zip(looks, routes, strict=True):
        assert seen.p_G == pytest.approx(route.p_BN[0].numpy())
        assert seen.w_N == pytest.approx(route.w_BN[0].numpy())
        assert (seen.w_N > 0).sum() == 1


def test_sparse_targets_are_the_prompts_selected_most_often():
    network = PromptedTeacher(teacher(top_k=2), "x")
    first = look([0.5, 0.3, 0.1, 0.1, 0], [0.5, 0.3, 0, 0, 0])
    second = look([0.1, 0.5, 0.2, 0.2, 0], [0, 0.5, 0.2, 0, 0])
    third = look([0.9, 0.06, 0.04, 0, 0], [0.9, 0.06, 0, 0, 0])
    targets = network.targets({"rain": [(first,) * 3, (second,) * 3, (third,) * 3]})
    assert [site.tolist() for site in targets["rain"]] == [[1, 0]] * 3


def test_a_forced_sparse_prompt_weighs_what_the_images_own_weighed(x_BCHW):
    network = PromptedTeacher(teacher(), "x")
    _, looks = network.restore(x_BCHW)
    wrong = [np.array([(seen.w_N.argmax() + 1) % 5]) for seen in looks]
    weights = []
    for seen, (index,) in zip(looks, wrong, strict=True):
        w_BN = torch.zeros(1, 5)
        w_BN[0, index] = seen.w_N.max()
        weights.append(w_BN)
    forced = network.forced(x_BCHW, looks, wrong)
    assert torch.allclose(forced, network.teacher(x_BCHW, weights), atol=1e-6)
    own = [np.array([seen.w_N.argmax()]) for seen in looks]
    routed = network.teacher(x_BCHW)
    assert torch.allclose(network.forced(x_BCHW, looks, own), routed, atol=1e-6)
    assert not torch.allclose(forced, routed, atol=1e-4)


@pytest.mark.parametrize("changes", [{"prompt": "soft"}, {"prompt": "dppd", "dpa": False}])
def test_soft_targets_are_mean_weights(x_BCHW, changes):
    network = PromptedTeacher(teacher(**changes), "x")
    even, one = look([0.2] * 5, [0.2] * 5), look([1, 0, 0, 0, 0], [1, 0, 0, 0, 0])
    (mean, *_) = network.targets({"rain": [(even,) * 3, (one,) * 3]})["rain"]
    assert mean == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1])
    _, looks = network.restore(x_BCHW)
    w = [torch.tensor(mean, dtype=torch.float32)[None]] * 3
    expected = network.teacher(x_BCHW, w)
    assert torch.allclose(network.forced(x_BCHW, looks, [mean] * 3), expected, atol=1e-6)


def test_prototypes_are_forced_one_at_a_time(x_BCHW):
    network = PromptedTeacher(teacher(prompt="dppd"), "x")
    _, looks = network.restore(x_BCHW)
    assert all(seen.w_N.max() == 1 == seen.w_N.sum() for seen in looks)
    w = [torch.eye(5)[2:3]] * 3
    forced = network.forced(x_BCHW, looks, [np.array([2])] * 3)
    assert torch.allclose(forced, network.teacher(x_BCHW, w), atol=1e-6)


def test_files_tell_what_they_are(student, tmp_path):
    save_student(student, tmp_path / "a.safetensors")
    one = teacher()
    save_teacher(one.config, one.state_dict(), tmp_path / "b.safetensors")
    first, second = (open_network(str(tmp_path / f"{n}.safetensors")) for n in "ab")
    assert (first.kind, first.name, first.multiple) == ("student", "a.safetensors", 16)
    assert (second.kind, second.name, second.multiple) == ("teacher", "b.safetensors", 8)


def test_mistakes_are_one_line(tmp_path):
    none = teacher(prompt="none")
    save_teacher(none.config, none.state_dict(), tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("x")
    for model, message in [
        (str(tmp_path / "none.safetensors"), r"none\.safetensors has no prompts"),
        (str(tmp_path / "other.safetensors"), "holds no student"),
        (str(tmp_path / "text.safetensors"), "is not a student's weights"),
        (str(tmp_path / "gone.safetensors"), "does not exist"),
        ("weights/s.tflite", r"reads weights, not \.tflite files: give the name of a shipped"),
        ("sss", "no file 'sss.safetensors'"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            open_network(model)
        assert "\n" not in str(error.value)
