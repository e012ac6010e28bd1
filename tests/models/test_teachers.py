import pytest
import torch
from safetensors.torch import save_file

from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIR, PromptIRConfig
from cpl_edge.models.teachers import load_teacher, save_teacher

SMALL = {"dim": 8, "blocks": (1, 1, 1, 1), "refinement": 1, "prompt_channels": (16, 8, 4)}


@pytest.mark.parametrize("prompt", ["spm", "soft", "none", "dppd"])
@torch.no_grad()
def test_a_teacher_comes_back_as_it_was(tmp_path, prompt):
    torch.manual_seed(0)
    teacher = PromptIR(PromptIRConfig(**SMALL, prompt=prompt, prompts=4)).eval()
    path = tmp_path / "new" / "teacher.safetensors"
    save_teacher(teacher.config, teacher.state_dict(), path)
    again = load_teacher(path)
    assert again.config == teacher.config
    assert not again.training
    x = torch.rand(1, 3, 8, 16)
    assert torch.equal(again(x), teacher(x))
    assert [p.name for p in path.parent.iterdir()] == ["teacher.safetensors"]


def test_what_is_no_teacher_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="not a teacher's weights"):
        load_teacher(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a teacher's weights"):
        load_teacher(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="holds no teacher"):
        load_teacher(path)
    for metadata in ('{"unknown": 1}', "[]", "{", '{"prompt": "hard"}', '{"dim": 7}'):
        save_file({"a": torch.zeros(1)}, path, metadata={"cpl_edge_teacher": metadata})
        with pytest.raises(UserError):
            load_teacher(path)
    state = PromptIR(PromptIRConfig(**SMALL)).state_dict()
    del state["head.weight"]
    save_teacher(PromptIRConfig(**SMALL), state, path)
    with pytest.raises(UserError, match="not a teacher's weights"):
        load_teacher(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        save_teacher(PromptIRConfig(), {"a": torch.zeros(1)}, tmp_path / "file" / "a.safetensors")
