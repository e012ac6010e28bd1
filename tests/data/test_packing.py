import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cpl_edge.data import packing
from cpl_edge.data.bank import INDEX, PIXELS, Bank, read_index
from cpl_edge.data.layouts import LAYOUTS, find_layout
from cpl_edge.data.packing import list_images, list_training_images, pack
from cpl_edge.errors import CplEdgeError, UserError

NAMES = [f"{n}.png" for n in range(6)]


def write(path, seed, size=(8, 10)):
    noise = np.random.default_rng(seed)
    Image.fromarray(noise.integers(0, 256, (*size, 3), np.uint8)).save(path)


@pytest.fixture(name="root")
def images(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for n, name in enumerate(NAMES):
        write(root / name, n, (8 + n, 10))
    return root


@pytest.fixture(name="reads")
def recorded_reads(monkeypatch):
    """Names of the files that are decoded."""
    reads = []
    read = packing._read
    monkeypatch.setattr(packing, "_read", lambda path: reads.append(path.name) or read(path))
    return reads


def assert_holds(bank, root, names):
    assert bank.names == sorted(names)
    bank.verify()
    for name in names:
        expected = np.asarray(Image.open(root / name))
        assert np.array_equal(bank.image(bank.place(name)), expected)


def test_packing_twice_reads_and_writes_nothing_the_second_time(root, tmp_path, reads):
    assert_holds(pack(root, NAMES, tmp_path / "bank"), root, NAMES)
    assert sorted(reads) == NAMES
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bank").iterdir()}
    assert set(before) == {INDEX, PIXELS}
    assert_holds(pack(root, reversed(NAMES), tmp_path / "bank"), root, NAMES)
    assert len(reads) == len(NAMES)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bank").iterdir()}
    assert after == before


def test_only_new_files_are_read(root, tmp_path, reads):
    pack(root, NAMES[:4], tmp_path / "bank")
    reads.clear()
    bank = pack(root, NAMES, tmp_path / "bank")
    assert reads == NAMES[4:]
    assert_holds(bank, root, NAMES)
    assert bank.unused == 0


@pytest.mark.parametrize("same_size", [True, False])
def test_a_changed_file_is_packed_anew(root, tmp_path, reads, same_size):
    old = pack(root, NAMES, tmp_path / "bank")
    pixels = np.array(old.pixels)
    reads.clear()
    write(root / NAMES[2], 99, (10, 10) if same_size else (30, 20))
    os.utime(root / NAMES[2], ns=(1, 10**18))
    bank = pack(root, NAMES, tmp_path / "bank")
    assert reads == [NAMES[2]]
    assert_holds(bank, root, NAMES)
    assert bank.unused == pytest.approx(100 / len(bank.pixels))
    assert np.array_equal(old.pixels, pixels)  # whoever reads the old bank is not disturbed


def test_a_removed_file_leaves_the_bank(root, tmp_path, reads):
    pack(root, NAMES, tmp_path / "bank")
    reads.clear()
    (root / NAMES[0]).unlink()
    bank = pack(root, NAMES[1:], tmp_path / "bank")
    assert reads == []
    assert_holds(bank, root, NAMES[1:])
    assert bank.unused > 0


def test_a_bank_of_which_nothing_is_kept_begins_anew(root, tmp_path):
    old = pack(root, NAMES[:3], tmp_path / "bank")
    pixels = np.array(old.pixels)
    bank = pack(root, NAMES[3:], tmp_path / "bank")
    assert_holds(bank, root, NAMES[3:])
    assert bank.unused == 0
    assert np.array_equal(old.pixels, pixels)


def test_a_broken_file_does_not_stop_the_others(root, tmp_path, reads):
    good = (root / NAMES[1]).read_bytes()
    (root / NAMES[1]).write_bytes(good[:60])
    (root / NAMES[4]).write_bytes(b"")
    with pytest.raises(UserError, match=r"1\.png: .* \(and 1 more\); all other images are packed"):
        pack(root, NAMES, tmp_path / "bank")
    with pytest.raises(UserError, match="not packed to the end"):
        Bank(tmp_path / "bank")
    reads.clear()
    (root / NAMES[1]).write_bytes(good)
    bank = pack(root, [name for name in NAMES if name != NAMES[4]], tmp_path / "bank")
    assert reads == [NAMES[1]]
    assert_holds(bank, root, [name for name in NAMES if name != NAMES[4]])


def test_files_of_any_depth_become_8_bit_colour(tmp_path):
    grey_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey_HW.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey_HW).save(tmp_path / "grey.png")
    bank = pack(tmp_path, ["deep.png", "grey.png"], tmp_path / "bank")
    for i in range(2):
        assert np.array_equal(bank.image(i), np.repeat(grey_HW[..., None], 3, 2))


KILLED = """
import os, signal, sys
from pathlib import Path
from cpl_edge.data import packing

packing._SAVE_EVERY = 2 * 3 * 10 * 8  # an index after two images
read, reads = packing._read, []

def deadly(path):
    reads.append(path)
    if len(reads) == 5:  # after two indexes and pixels that belong to none
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path)

packing._read = deadly
root = Path(sys.argv[1])
packing.pack(root, sorted(path.name for path in root.iterdir()), Path(sys.argv[2]))
"""


def test_a_killed_packing_goes_on_where_it_was(root, tmp_path, reads):
    folder = tmp_path / "bank"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    index = read_index(folder)
    assert [entry.name for entry in index.entries] == NAMES[:4]
    assert not index.complete
    with (folder / PIXELS).open("ab") as file:
        file.write(b"left from the kill")
    assert_holds(pack(root, NAMES, folder), root, NAMES)
    assert reads == NAMES[4:]
    assert (folder / PIXELS).stat().st_size == 3 * sum((8 + n) * 10 for n in range(6))


def test_a_full_disk_is_told_and_loses_nothing(root, tmp_path, reads, monkeypatch):
    folder = tmp_path / "bank"
    pack(root, NAMES[:2], folder)
    calls = []

    def full(*args):
        calls.append(args)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_index", full)
        with pytest.raises(CplEdgeError, match=r"disk of .* is full: make room") as caught:
            pack(root, NAMES, folder)
    assert caught.value.exit_code == 1
    assert calls
    reads.clear()
    assert_holds(pack(root, NAMES, folder), root, NAMES)
    assert reads == NAMES[2:]


def test_a_damaged_bank_is_not_added_to(root, tmp_path):
    pack(root, NAMES[:2], tmp_path / "bank")
    (tmp_path / "bank" / INDEX).write_text("{")
    with pytest.raises(CplEdgeError, match="is damaged"):
        pack(root, NAMES, tmp_path / "bank")


def test_mistakes_are_told(root, tmp_path):
    with pytest.raises(UserError, match="nothing to pack"):
        pack(root, [], tmp_path / "bank")
    with pytest.raises(UserError, match=r"none\.png cannot be read: No such file"):
        pack(root, ["none.png"], tmp_path / "bank")
    with pytest.raises(UserError, match="cannot be written"):
        pack(root, NAMES, root / NAMES[0])
    with pytest.raises(UserError, match="there is no folder"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        list_images(tmp_path / "empty")


def test_listing_goes_through_all_folders(tmp_path):
    for name in ("b/2.PNG", "a.jpg", "b/deep/0.webp", "notes.txt", "b/._2.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list_images(tmp_path) == ["a.jpg", "b/2.PNG", "b/deep/0.webp"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_a_layouts_training_images_are_listed_and_packed(layout, make_dataset, tmp_path):
    root = make_dataset(layout.name, tmp_path / "data")
    names = list_training_images(root, layout)
    expected = {
        name
        for name in list_images(root)
        if name.startswith(("Train/", "train/", "allweather/")) or layout.name == "weatherbench"
    }
    assert set(names) == expected
    assert len(pack(root, names, tmp_path / "bank")) == len(expected)


def test_unpaired_images_are_not_packed(make_dataset, tmp_path):
    root = make_dataset("3tasks", tmp_path)
    (root / "Train/Derain/rainy/rain-1.png").unlink()
    names = list_training_images(root, find_layout("3tasks"))
    assert "Train/Derain/gt/norain-1.png" not in names
    assert "Train/Derain/gt/norain-10.png" in names
