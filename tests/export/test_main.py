"""The command as a user types it: exit codes, one line for a mistake, tables and JSON."""

import json
import subprocess
import sys

import pytest

from cpl_edge.export.__main__ import main
from cpl_edge.export.gate import GateResult
from cpl_edge.export.report import as_text, refusal, show

TAMPERED = """
target = "onnx"
precision = "fp32"
routing = "pinned"
degradation = "noise"
size = [64, 72]
[limits.fp32]
max_abs = 1e-12
drop_mean = 0.01
drop_worst = 0.02
routing_agreement = 0.99
"""


def run(*words) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "litrt"], "no target 'litrt': did you mean 'litert'?"),
        ([], "no target given"),
        (["--target", "onnx", "--size", "63"], "size 63 is no multiple of 4: nearest is 64"),
        (["--target", "onnx", "--size", "48"], "give 52 or more"),
        (["--target", "onnx", "--size", "big"], "'big' is no size"),
        (["--target", "onnx", "--precision", "fp16"], "nearest: --precision w8a8"),
        (["--target", "onnx", "--routing", "pinned"], "add --degradation"),
        (
            ["--target", "onnx", "--routing", "manual"],
            "no routing 'manual'",
        ),
        (["--target", "onnx", "--student", "missing.safetensors"], "does not exist"),
        (["--target", "onnx", "--student", "no-such"], "no-such.safetensors"),
        (["--target", "onnx", "--data", "no-such-folder"], "no folder no-such-folder"),
        (["--recipe", "no-such.toml"], "no-such.toml does not exist"),
        (["--target", "onnx", "--record", __file__], "is no record of refused builds"),
        (["--traget", "onnx"], "--traget"),
    ],
)
def test_a_mistake_exits_2_with_one_line(words, message, weights, tmp_path, capsys):
    if "--student" not in words:
        words = [*words, "--student", weights]
    assert run(*words, "--out", tmp_path) == 2
    captured = capsys.readouterr()
    (line,) = [text for text in captured.err.splitlines() if "/6 " not in text]
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_a_recipe_exits_2(weights, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(TAMPERED.replace("routing =", "rooting ="))
    assert run("--recipe", tmp_path / "mine.toml", "--student", weights) == 2
    assert "unknown key 'rooting': did you mean 'routing'?" in capsys.readouterr().err


def test_a_failed_gate_exits_1_and_is_named(weights, tmp_path, capsys):
    recipe = tmp_path / "tampered.toml"
    recipe.write_text(TAMPERED)
    out = tmp_path / "build"
    assert run("--recipe", recipe, "--student", weights, "--out", out) == 1
    captured = capsys.readouterr()
    assert "error: onnx refused: gate parity: " in captured.err
    assert "limit 1e-12: a swap or the converter changed the function" in captured.err
    assert "FAILED" in captured.out
    assert list(out.iterdir()) == []
    words = ("--recipe", recipe, "--student", weights, "--out", out, "--keep-refused")
    record = tmp_path / "refused.json"
    assert run(*words, "--record", record) == 1
    (entry,) = json.loads(record.read_text())
    assert entry["refused"] == ["parity"]
    kept = out / "tiny-onnx-fp32-pinned-noise-64x72-refused"
    assert f"kept as {kept}" in capsys.readouterr().err
    assert json.loads((kept / "card.json").read_text())["refused"] == ["parity"]


def test_a_good_build_exits_0_with_a_table_and_json(weights, tmp_path, capsys):
    words = ["--target", "onnx", "--routing", "pinned", "--degradation", "rain", "--size", "64x72"]
    words += ["--student", weights, "--out", tmp_path, "--json", tmp_path / "all.json"]
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "parity" in out
    assert "tiny-onnx-fp32-pinned-rain-64x72" in out
    (card,) = json.loads((tmp_path / "all.json").read_text())
    assert card["info"]["pinned"] == "rain"


def test_help_does_not_import_torch():
    code = (
        "import sys, contextlib\n"
        "from cpl_edge.export.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--keep-refused" in done.stdout


def test_figures_for_people(exported, capsys):
    assert (as_text(None), as_text(1.23456e-7), as_text("equal")) == ("-", "1.23e-07", "equal")
    failed = GateResult("parity", 0.5, 1e-4, False, "a swap")
    assert refusal(failed) == "gate parity: 0.5, limit 0.0001: a swap"
    show([exported("onnx")])
    assert "forward" in capsys.readouterr().out
