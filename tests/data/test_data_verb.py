"""The verb as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cpl_edge.data.__main__ import main
from cpl_edge.data.bank import PIXELS, Bank
from cpl_edge.data.layouts import LAYOUTS


def run(capsys, *words):
    """Exit code, stdout and stderr of the verb."""
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code or 0, *capsys.readouterr()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_checking_a_whole_dataset_exits_with_0(layout, make_dataset, tmp_path, capsys):
    root = make_dataset(layout, tmp_path)
    code, out, err = run(capsys, "--layout", layout, "--check", root)
    assert (code, err) == (0, "")
    for source in LAYOUTS[layout].sources:
        assert source.folders[0] in out


def test_checking_says_what_is_missing_and_exits_with_1(make_dataset, tmp_path, capsys):
    root = make_dataset("5tasks", tmp_path / "data")
    (root / "Train/Enhance/gt/2.png").unlink()
    (root / "Train/Derain/gt/norain-1.png").unlink()
    report = tmp_path / "report.json"
    code, out, err = run(capsys, "--layout", "5tasks", "--check", root, "--json", report, "--debug")
    assert code == 1
    assert f"no images in {root}/Train/Enhance/gt" in out
    assert "Train/Derain/gt/norain-1.* for Train/Derain/rainy/rain-1.png" in out
    assert err.splitlines()[-1] == "error: 2 of 11 parts of 5tasks are incomplete"
    sources = json.loads(report.read_text())["sources"]
    assert [s["task"] for s in sources if not s["complete"]] == ["rain", "lowlight"]


def test_packing_a_layout_and_verifying_the_bank(make_dataset, tmp_path, capsys):
    root = make_dataset("3tasks", tmp_path / "data")
    words = ("--layout", "3tasks", "--pack", root, "--out", tmp_path / "bank")
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert out == f"{tmp_path}/bank: 11 images, 0.000 GB\n"
    assert not any(name.startswith("test/") for name in Bank(tmp_path / "bank").names)
    assert run(capsys, *words)[:2] == (0, out)
    assert run(capsys, "--verify", tmp_path / "bank")[0] == 0
    with (tmp_path / "bank" / PIXELS).open("r+b") as file:
        file.write(bytes(3000))
    code, out, err = run(capsys, "--verify", tmp_path / "bank")
    assert (code, out) == (1, "")
    assert "are damaged" in err


def test_packing_any_folder_takes_all_images(make_dataset, tmp_path, capsys):
    root = make_dataset("3tasks", tmp_path / "data")
    report = tmp_path / "bank.json"
    code, _, _ = run(capsys, "--pack", root, "--out", tmp_path / "bank", "--json", report)
    assert code == 0
    size = 17 * 24 * 32 * 3
    assert json.loads(report.read_text()) == {
        "bank": str(tmp_path / "bank"), "images": 17, "bytes": size, "unused": 0.0
    }  # fmt: skip


def test_a_bank_with_much_waste_says_so(tmp_path, capsys):
    for n in range(2):
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(tmp_path / f"{n}.png")
    bank = tmp_path / "bank"
    assert run(capsys, "--pack", tmp_path, "--out", bank)[1].count("\n") == 1
    Image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(tmp_path / "1.png")
    _, out, _ = run(capsys, "--pack", tmp_path, "--out", bank)
    assert "31% of it is left from changed files: delete it and pack again" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "say one of --check FOLDER, --pack FOLDER, --verify BANK and --list"),
        (["--check", ".", "--pack", "."], "say one of"),
        (["--check", "."], "say with --layout NAME what the folder should hold"),
        (["--check", ".", "--layout", "4tasks"], "no layout '4tasks': did you mean '"),
        (["--check", "nowhere", "--layout", "5tasks"], "there is no folder nowhere"),
        (["--pack", "."], "say with --out FOLDER where the bank should be"),
        (["--pack", "nowhere", "--out", "bank"], "there is no folder nowhere"),
        (["--pack", ".", "--out", "bank"], "holds no images"),
        (["--pack", ".", "--out", "bank", "--layout", "5tasks"], "no images for noise of 5tasks"),
        (["--verify", "."], "is no bank: make one with"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(words, line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert line in err
    assert err.count("\n") == 1


def test_the_list_names_every_layout(capsys):
    code, out, _ = run(capsys, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(LAYOUTS)


def test_checking_and_packing_need_no_torch(make_dataset, tmp_path):
    root = make_dataset("3tasks", tmp_path / "data")
    code = (
        "import sys\n"
        "from cpl_edge.data.__main__ import main\n"
        "for words in sys.argv[1].split(';'):\n"
        "    try:\n"
        "        main(words.split())\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    words = f"--layout 3tasks --check {root};--layout 3tasks --pack {root} --out {tmp_path / 'b'}"
    done = subprocess.run(
        [sys.executable, "-c", code, words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
