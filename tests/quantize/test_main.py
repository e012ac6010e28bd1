import json

import pytest

from cpl_edge.quantize.__main__ import main
from cpl_edge.quantize.support import SUPPORT


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
    assert json.loads(path.read_text()) == SUPPORT


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to do: --list or --analyse"),
        (["--list", "--analyse"], "say what to do: --list or --analyse"),
        (["--analyse", "--recipe", "litert-w8a9"], "did you mean 'litert-w8a8'?"),
        (["--analyse", "--recipe", "missing.toml"], "missing.toml does not exist"),
        (["--analyse", "--student", "missing.safetensors"], "does not exist"),
    ],
)
def test_a_mistake_exits_2_with_one_line(words, message, capsys):
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
