import json

import pytest

from cpl_edge.quantize.__main__ import main
from cpl_edge.quantize.support import PRECISIONS, SUPPORT


def run(*words) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code)


def test_the_list_tells_every_pair_and_why_not(tmp_path, capsys):
    path = tmp_path / "list.json"
    assert run("--list", "--json", path) == 0
    printed = capsys.readouterr().out
    for precisions in SUPPORT.values():
        assert all(reason in printed for reason in precisions.values())
    heading = printed.splitlines()[1].split()
    assert heading == ["target", *PRECISIONS]  # whole words in 80 characters
    assert json.loads(path.read_text()) == SUPPORT


def test_calibrating_needs_photos(tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    text = 'target = "litert"\nprecision = "w8a8"\nweights = "int8"\nactivations = "int8"\n'
    for words, message in (
        ("", f"{tmp_path} holds no images"),
        ('keep_float = ["haed"]\n', "keep_float 'haed' matches no module: did you mean 'head'?"),
        ('obsrever = "mse"\n', "unknown key 'obsrever': did you mean 'observer'?"),
        ('observer = "mes"\n', "observer"),
    ):
        recipe.write_text(text + words, encoding="utf-8")
        out = tmp_path / "out"
        assert run("-o", out, "--recipe", recipe, "--data", tmp_path) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say one thing to do: --list, --analyse"),
        (["--list", "--analyse"], "say one thing to do: --list, --analyse"),
        (["-o", "new", "--recipe", "w8"], "no ranges to store"),
        (["-o", "new", "--data", "missing"], "no folder missing"),
        (["--measure"], "s is not quantised"),
        (["--analyse", "--recipe", "litert-w8a9"], "did you mean 'litert-w8a8'?"),
        (["--analyse", "--recipe", "missing.toml"], "missing.toml does not exist"),
        (["--analyse", "--student", "missing.safetensors"], "does not exist"),
        (["--analyse", "--student", "nano-each"], "nano-each is a network for each degradation"),
        (["--sqnr", "--student", "nano-each"], "nano-each is a network for each degradation"),
        (["--observers", "--student", "nano-each"], "nano-each is a network for each degradation"),
        (["-o", "new", "--student", "nano-each"], "nano-each is a network for each degradation"),
    ],
)
def test_a_mistake_exits_2_with_one_line(words, message, capsys):
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
