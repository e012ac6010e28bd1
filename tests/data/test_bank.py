import json

import numpy as np
import pytest
import torch
from PIL import Image

from cpl_edge.data.bank import INDEX, PIXELS, Bank, file_digest
from cpl_edge.data.packing import pack
from cpl_edge.errors import CplEdgeError, UserError

SIZES = {"a.png": (7, 5), "deep/b.png": (4, 9), "c.png": (6, 6)}


@pytest.fixture(name="root")
def images(tmp_path):
    noise = np.random.default_rng(0)
    for name, (h, w) in SIZES.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (h, w, 3), np.uint8)).save(path)
    return tmp_path / "images"


@pytest.fixture(name="bank")
def packed(root, tmp_path):
    return pack(root, SIZES, tmp_path / "bank")


def index(bank):
    return json.loads((bank.folder / INDEX).read_text())


def rewrite(bank, content):
    (bank.folder / INDEX).write_text(json.dumps(content))


def test_a_bank_holds_the_images_by_name(bank, root):
    again = Bank(bank.folder)
    assert again.names == sorted(SIZES)
    assert len(again) == 3
    for name in SIZES:
        expected = np.asarray(Image.open(root / name))
        assert np.array_equal(again.image(again.place(name)), expected)
    assert again.pixels.shape == (sum(h * w for h, w in SIZES.values()), 3)
    assert again.unused == 0
    again.verify()


def test_it_is_mapped_and_becomes_a_tensor_without_a_copy_or_a_warning(bank):
    assert isinstance(bank.pixels, np.memmap)
    tensor = torch.from_numpy(bank.pixels)
    tensor[0] = 255 - tensor[0]
    assert (bank.pixels[0] == tensor[0].numpy()).all()
    Bank(bank.folder).verify()  # but the file is as it was


def test_the_index_holds_a_digest_of_names_sizes_and_times(bank, root):
    content = index(bank)
    assert content["files"] == file_digest(bank.entries)
    assert content["complete"] is True
    for entry in bank.entries:
        status = (root / entry.name).stat()
        assert (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)
    other = [bank.entries[0].__class__(**{**vars(bank.entries[0]), "mtime_ns": 1})]
    assert file_digest(bank.entries) != file_digest([*other, *bank.entries[1:]])
    assert file_digest(bank.entries) == file_digest(bank.entries[::-1])


def test_what_is_no_bank_is_told(tmp_path):
    with pytest.raises(UserError, match="is no bank: make one with"):
        Bank(tmp_path)


def test_an_unfinished_bank_is_refused(bank):
    rewrite(bank, {**index(bank), "complete": False})
    with pytest.raises(UserError, match="not packed to the end: run the same --pack again"):
        Bank(bank.folder)


def test_an_image_that_is_not_there_is_told(bank):
    with pytest.raises(UserError, match=r"does not hold d\.png"):
        bank.place("d.png")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pixels", "many"),
        ("pixels", 10),
        ("pixels", 10**9),
        ("files", "0" * 64),
        ("images", [["a.png", 1]]),
        ("images", None),
        ("format", 99),
    ],
)
def test_a_damaged_index_is_told(bank, key, value):
    rewrite(bank, {**index(bank), key: value})
    with pytest.raises(CplEdgeError, match="delete it and pack again") as caught:
        Bank(bank.folder)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\xff"])
def test_an_index_that_is_no_json_is_told(bank, text):
    (bank.folder / INDEX).write_text(text, encoding="latin-1")
    with pytest.raises(CplEdgeError, match="is damaged"):
        Bank(bank.folder)


def test_pixels_that_are_cut_off_or_gone_are_told(bank):
    path = bank.folder / PIXELS
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-1])
    with pytest.raises(CplEdgeError, match=r"pixels\.bin is cut off"):
        Bank(bank.folder)
    path.unlink()
    with pytest.raises(CplEdgeError, match=r"pixels\.bin is cut off"):
        Bank(bank.folder)


def test_verifying_finds_a_single_changed_byte(bank):
    entry = bank.entries[1]
    with (bank.folder / PIXELS).open("r+b") as file:
        file.seek(3 * entry.offset + 1)
        (byte,) = file.read(1)
        file.seek(3 * entry.offset + 1)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(CplEdgeError, match=rf"1 images .* are damaged, first {entry.name}"):
        Bank(bank.folder).verify()
