import json

import pytest
import torch

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.train import cache
from cpl_edge.train.cache import LessonBank, LessonFile

CPU = torch.device("cpu")


def fields(number):
    """A record whose every value is its number."""
    return {
        "x": torch.full((2, 3, 8, 8), number / 100).half(),
        "y": torch.full((2, 3, 4, 4), number / 100).half(),
        "label": torch.tensor([number, 1]),
        "p_SBN": torch.full((1, 2, 3), number + 1e-8),
    }


class Maker:
    """Counts what is made, and can be killed before a number."""

    def __init__(self, kill=None):
        self.made, self.kill = [], kill

    def __call__(self, number):
        if number == self.kill:
            raise KeyboardInterrupt
        self.made.append(number)
        return fields(number)


def open_file(folder, make=None, count=6, **facts):
    return LessonFile(folder / "lessons-0.bin", count, {"seed": 3, **facts}, make or Maker())


def test_what_is_read_is_what_was_made(tmp_path):
    file = open_file(tmp_path / "new" / "folder")
    for number in (0, 5, 2):
        read = file.read(number, CPU)
        for name, value in fields(number).items():
            expected = value.float() if value.is_floating_point() else value
            assert torch.equal(read[name], expected)
            assert read[name].dtype == expected.dtype
    assert read["x"].is_contiguous(memory_format=torch.channels_last)
    assert sorted(f.name for f in file.path.parent.iterdir()) == [
        "lessons-0.bin", "lessons-0.json"
    ]  # fmt: skip


def test_what_is_made_is_not_made_again(tmp_path):
    first = open_file(tmp_path)
    again = Maker()
    assert (open_file(tmp_path, again).records == first.records).all()
    assert again.made == [0]  # to see that it is the same


def test_a_killed_making_goes_on_to_the_same_file(tmp_path):
    whole = open_file(tmp_path / "whole").path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        open_file(tmp_path, Maker(kill=4))
    part = tmp_path / "lessons-0.part"
    assert not (tmp_path / "lessons-0.bin").exists()
    with part.open("ab") as file:  # torn
        file.write(b"half a record")
    rest = Maker()
    open_file(tmp_path, rest)
    assert rest.made == [0, 3, 4, 5]
    assert (tmp_path / "lessons-0.bin").read_bytes() == whole
    assert not part.exists()


@pytest.mark.parametrize("kill", [None, 4])
def test_other_facts_are_refused(tmp_path, kill):
    if kill:
        with pytest.raises(KeyboardInterrupt):
            open_file(tmp_path, Maker(kill))
    else:
        open_file(tmp_path)
    for values, name in (({"seed": 4}, "seed"), ({"count": 5}, "batches"), ({"a": 1}, "a")):
        with pytest.raises(UserError, match=f"was made with another '{name}': delete it"):
            open_file(tmp_path, **values)
    (tmp_path / "lessons-0.json").unlink()
    with pytest.raises(UserError, match="was made with another"):
        open_file(tmp_path)


def test_other_images_are_refused(tmp_path):
    open_file(tmp_path)
    with pytest.raises(UserError, match="was made of other images"):
        open_file(tmp_path, lambda number: fields(number + 1))
    rounded = open_file(tmp_path, lambda n: fields(n) | {"y": fields(n)["y"] + 1e-4})
    assert (rounded.records["y"][0] == 0).all()


def test_a_damaged_file_and_a_full_disk_are_told(tmp_path, monkeypatch):
    path = open_file(tmp_path).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CplEdgeError, match="is damaged: delete it"):
        open_file(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("U", (), {"free": 1000}))
    with pytest.raises(UserError, match=r"6 batches take 0\.00 GiB.*lower 'cache'"):
        open_file(tmp_path / "other")


def test_rounds_are_shuffled_and_go_on_where_they_were(tmp_path):
    file = open_file(tmp_path)

    def taken(bank, count):
        batches = [bank.degraded((), 2, 8, torch.Generator()) for _ in range(count)]
        return [int(label_B[0]) for *_, label_B in batches]

    bank = LessonBank(file, CPU, seed=0)
    rounds = [taken(bank, 6) for _ in range(3)]
    assert all(sorted(one) == list(range(6)) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    other = LessonBank(file, CPU, seed=0)
    other.taken = 8
    assert taken(other, 10) == rounds[1][2:] + rounds[2]
    assert taken(LessonBank(file, CPU, seed=1), 6) != rounds[0]


def test_a_batch_comes_with_its_answers_and_draws_nothing(tmp_path):
    bank = LessonBank(open_file(tmp_path), CPU, seed=0)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    x_BCHW, y_BCHW, label_B = bank.degraded((), 2, 8, generator)
    assert torch.equal(generator.get_state(), before)
    number = int(label_B[0])
    assert bank.answers.keys() == {"p_SBN"}
    assert torch.equal(bank.answers["p_SBN"], fields(number)["p_SBN"])
    assert (x_BCHW.shape[-1], y_BCHW.shape[-1]) == (8, 4)
    facts = json.loads((tmp_path / "lessons-0.json").read_text())
    assert facts == {"format": 1, "batches": 6, "seed": 3}
