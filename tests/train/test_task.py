import pytest
import torch

from cpl_edge.errors import UserError
from cpl_edge.models.zoo import create_student, save_student
from cpl_edge.train.recipe import StudentRecipe
from cpl_edge.train.task import StudentTask, middle_of


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
    with pytest.raises(UserError, match="another kind of student than s"):
        StudentTask(StudentRecipe(student="s", weights=str(path)))
    with pytest.raises(UserError, match="does not exist"):
        StudentTask(StudentRecipe(student="nano", weights=str(tmp_path / "no.safetensors")))
