import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from cpl_edge.errors import UserError
from cpl_edge.models.student import Student, StudentConfig
from cpl_edge.models.zoo import STUDENTS, create_student, load_student, save_student, student_path
from cpl_edge.shipped import shipped_names

SMALL = StudentConfig(widths=(4, 6), blocks=(1, 1, 1), router_widths=(3, 4), router_hidden=5)

# Parameters, and multiply-accumulates of one forward at 1x3x256x256.
SIZES = {
    "nano": (87_064, 553_812_704),
    "s": (280_520, 2_051_183_072),
    "m": (852_856, 6_547_486_560),
}


@pytest.fixture(name="student", scope="module")
def a_student_of_random_parameters():
    student, generator = Student(SMALL), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return student


def test_every_preset_has_its_figures_here():
    assert STUDENTS.keys() == SIZES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_macs_are_pinned(name):
    student = create_student(name)
    parameters = sum(p.numel() for p in student.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        student(torch.zeros(1, 3, 256, 256))
    assert (parameters, counter.get_total_flops() / 2) == SIZES[name]
    assert parameters < 1_000_000


def test_a_seed_makes_a_student():
    one, same, other = create_student("nano"), create_student("nano"), create_student("nano", 1)
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(one.head.weight, other.head.weight)


def test_creating_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    create_student("nano", seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"'tiny'.*nano, s, m"):
        create_student("tiny")


def test_saving_and_loading_keeps_every_bit(student, tmp_path):
    path = tmp_path / "deep" / "mine.safetensors"
    save_student(student.to(memory_format=torch.channels_last), path)
    loaded = load_student(path)
    assert loaded.config == SMALL
    assert not loaded.training
    assert loaded.state_dict().keys() == student.state_dict().keys()
    for name, value in student.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert [p.name for p in path.parent.iterdir()] == ["mine.safetensors"]


def test_saving_replaces_the_old_file(student, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"old")
    save_student(student, path)
    assert load_student(str(path)).config == SMALL


def refusal(path):
    with pytest.raises(UserError) as caught:
        load_student(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path, student, metadata):
    save_file({k: v.contiguous() for k, v in student.state_dict().items()}, path, metadata)
    return path


def described(config):
    return {"cpl_edge_student": json.dumps(config)}


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "mine.safetensors"
    for content in (b"", b"not weights", b"\x08\0\0\0\0\0\0\0{}      ", bytes(1000)):
        path.write_bytes(content)
        assert str(path) in refusal(path)


def test_a_file_cut_short_is_refused(student, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_student(student, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a student's weights" in refusal(path)


def test_weights_without_metadata_are_refused(student, tmp_path):
    for metadata in (None, {"other": "x"}):
        path = write(tmp_path / "mine.safetensors", student, metadata)
        assert "lacks 'cpl_edge_student'" in refusal(path)


def test_weights_of_other_shapes_are_refused(student, tmp_path):
    config = {**SMALL.to_dict(), "widths": [4, 8]}
    path = write(tmp_path / "mine.safetensors", student, described(config))
    assert "not a student's weights" in refusal(path)


def test_missing_weights_are_refused(student, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_student(student, path)
    state = load_file(path)
    del state["tail.bias"]
    save_file(state, path, described(SMALL.to_dict()))
    assert "not a student's weights" in refusal(path)


@pytest.mark.parametrize(
    "config",
    [
        {"depth": 3},
        {"levels": 0},
        {"widths": [4, 6, 8]},
        {"widths": "wide"},
        {"blocks": [1]},
        [1],
        3,
    ],
)
def test_a_config_that_no_student_has_is_refused(student, tmp_path, config):
    path = write(tmp_path / "mine.safetensors", student, described(config))
    assert "not a student's weights" in refusal(path)


def test_a_config_that_is_no_json_is_refused(student, tmp_path):
    path = write(tmp_path / "mine.safetensors", student, {"cpl_edge_student": "{"})
    assert "not a student's weights" in refusal(path)


def test_a_missing_file_or_name_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "does not exist" in refusal(tmp_path / "folder.safetensors")
    assert "'enormous.safetensors'" in refusal("enormous")


def test_shipped_students_load_by_name():
    names = [name for name in STUDENTS if name in shipped_names("weights", ".safetensors")]
    if not names:
        pytest.skip("no weights are shipped yet")
    for name in names:
        assert load_student(name).config == STUDENTS[name]
        assert student_path(name).name == f"{name}.safetensors"
