import pickle
import random
from pathlib import Path

import pytest
import torch

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.train.checkpoint import load_checkpoint, save_checkpoint


def state(step):
    generator = torch.Generator().manual_seed(step)
    return {
        "step": step,
        "student": {"weight": torch.randn(20, 30, generator=generator)},
        "generator": generator.get_state(),
        "mean": {"loss": 0.25},
    }


@pytest.fixture(name="path")
def where(tmp_path):
    return tmp_path / "run" / "checkpoint.pt"


def refusal(path):
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_was_saved_is_loaded(path):
    save_checkpoint(path, state(3))
    save_checkpoint(path, state(4))
    loaded, expected = load_checkpoint(path), state(4)
    assert loaded["step"] == 4
    assert loaded["mean"] == expected["mean"]
    assert torch.equal(loaded["student"]["weight"], expected["student"]["weight"])
    assert torch.equal(loaded["generator"], expected["generator"])
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("writer")])
def test_a_write_that_fails_in_the_middle_keeps_the_old_checkpoint(path, monkeypatch, error):
    save_checkpoint(path, state(3))
    good = path.read_bytes()

    def half(state, handle):
        handle.write(good[: len(good) // 2])
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(CplEdgeError, match="the last good one is kept") as caught:
        save_checkpoint(path, state(4))
    assert caught.value.exit_code == 1
    assert path.read_bytes() == good
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]
    assert load_checkpoint(path)["step"] == 3


def test_a_crash_before_the_last_move_keeps_the_old_checkpoint(path, monkeypatch):
    save_checkpoint(path, state(3))

    def crash(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, state(4))
    monkeypatch.undo()
    assert load_checkpoint(path)["step"] == 3
    save_checkpoint(path, state(5))  # what the crash left behind is in nobody's way
    assert load_checkpoint(path)["step"] == 5


def test_a_first_write_that_fails_promises_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CplEdgeError, match="cannot write the checkpoint") as caught:
        save_checkpoint(tmp_path / "file" / "checkpoint.pt", state(1))
    assert "kept" not in str(caught.value)


def test_a_checkpoint_cut_off_anywhere_is_refused(path):
    save_checkpoint(path, state(3))
    whole = path.read_bytes()
    for share in (0, 0.01, 0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert "is not a checkpoint" in refusal(path)


# torch warns of a damaged protocol number before it gives up.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_no_damage_ends_in_anything_but_a_clear_error(path):
    save_checkpoint(path, state(3))
    whole, dice = path.read_bytes(), random.Random(0)
    start = whole.index(b"data.pkl")  # the part that decides what is built from the rest
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[start + dice.randrange(400)] = dice.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            load_checkpoint(path)
        except UserError:
            refused += 1
    assert refused > 100


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))  # stands for os.system


def test_code_in_a_checkpoint_never_runs(path, tmp_path):
    target = tmp_path / "executed"
    path.parent.mkdir()
    torch.save({"step": 1, "student": Malicious(target)}, path)
    refusal(path)
    path.write_bytes(pickle.dumps({"step": 1, "student": Malicious(target)}))
    refusal(path)
    assert not target.exists()
    function, arguments = Malicious(target).__reduce__()  # the trap itself works:
    function(*arguments)
    assert target.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x05\x06" + bytes(18)])
def test_other_files_are_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert "is not a checkpoint" in refusal(path)


def test_a_missing_file_is_refused(path):
    assert "is not a checkpoint" in refusal(path)


@pytest.mark.parametrize("other", [[1, 2], {"weights": torch.zeros(2)}, torch.zeros(3)])
def test_what_another_program_saved_is_refused(path, other):
    path.parent.mkdir()
    torch.save(other, path)
    assert "not a checkpoint of this trainer" in refusal(path)
