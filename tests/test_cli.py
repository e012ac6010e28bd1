"""The commands as a whole: verbs, exit codes, one-line errors, and a light --help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cpl_edge
from cpl_edge.__main__ import VERBS, main
from cpl_edge.cli import Debug, Json, track, verb, write_json
from cpl_edge.errors import GateFailed, UserError

PACKAGE = Path(cpl_edge.__file__).parent

# Slow to import, or optional: --help must get by without them.
HEAVY = ("torch", "numpy", "PIL", "pydantic", "skimage", "ai_edge_litert", "executorch", "onnx")


@verb
def sample(steps: int, json_path: Json = None, debug: Debug = False) -> None:
    """Take some steps."""
    if steps == 1:
        raise GateFailed("parity: 3e-4, limit 1e-4")
    if steps == 2:
        raise UserError("take 3 steps instead")
    if steps == 3:
        raise KeyboardInterrupt
    write_json(json_path, {"steps": steps})


def exit_code(function, argv) -> int:
    with pytest.raises(SystemExit) as caught:
        function([str(word) for word in argv])
    return caught.value.code or 0


def test_success_exits_with_0_and_writes_json(tmp_path):
    path = tmp_path / "new" / "out.json"
    assert exit_code(sample, [5, "--json", path]) == 0
    assert json.loads(path.read_text()) == {"steps": 5}


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (["1"], 1, "error: parity: 3e-4, limit 1e-4"),
        (["2"], 2, "error: take 3 steps instead"),
        (["3"], 130, "stopped"),
        ([], 2, "error: Missing argument"),
        (["5", "6"], 2, "error: Got unexpected extra argument"),
        (["5", "--jsn", "x"], 2, "error: No such option: --jsn (Possible options: --json"),
        (["many"], 2, "error: Invalid value"),
    ],
)
def test_failures_are_one_line_on_stderr(argv, code, line, capsys):
    assert exit_code(sample, argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_debug_adds_the_traceback_and_keeps_the_code(capsys):
    assert exit_code(sample, [2, "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "UserError: take 3 steps instead" in err


def test_track_yields_everything_and_is_silent_without_a_terminal(capsys):
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert list(track(iter("ab"), "letters", total=2)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_lists_every_verb(argv, capsys):
    main(argv)
    out = capsys.readouterr().out
    for name, summary in VERBS.items():
        assert f"  {name} " in out
        assert summary in out


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"cpl-edge {cpl_edge.__version__}\n"


@pytest.mark.parametrize(
    ("name", "hint"), [("exprot", "did you mean 'export'?"), ("qqq", "choose from restore")]
)
def test_unknown_verb_names_the_nearest(name, hint, capsys):
    assert exit_code(main, [name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert hint in err
    assert err.count("\n") == 1


def test_every_room_with_a_main_is_a_listed_verb():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__main__.py")}
    assert rooms == set(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_imports_nothing_heavy(name):
    # run_module is what ``python -m`` does; the report comes after --help has exited.
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module('cpl_edge.{name}', run_name='__main__', alter_sys=False)\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"python -m cpl_edge.{name}" in done.stdout
    assert "--json" in done.stdout
    assert "--debug" in done.stdout


def test_console_verb_and_module_verb_are_the_same():
    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words, "--help"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("cpl_edge", "restore") == run("cpl_edge.restore")
