"""Golden files, and the verb as a user types it."""

import json
import sys
from pathlib import Path

import pytest

from cpl_edge.profile.model import Model, load_model

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="session")
def golden():
    return GOLDEN


@pytest.fixture(scope="session")
def golden_model():
    """``golden_model(".onnx")``: that golden model, read once."""
    made = {}

    def get(suffix) -> Model:
        if suffix not in made:
            packages = {".onnx": ("onnx", "onnxruntime"), ".pte": ("executorch.exir",)}
            for package in packages.get(suffix, ()):
                pytest.importorskip(package)
            made[suffix] = load_model(GOLDEN / f"model{suffix}")
        return made[suffix]

    return get


@pytest.fixture
def verb(capfd):
    """``verb(words...)``: exit code, stdout and stderr of python -m cpl_edge.profile."""
    from cpl_edge.profile.__main__ import main

    def run(*words):
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        return caught.value.code or 0, *capfd.readouterr()

    return run


STAND_IN = """#!{python}
import json, sys
from pathlib import Path
state = Path({state!r})
steps = json.loads(state.read_text())
words = [w for w in sys.argv[1:]]
if not steps:
    sys.exit("unexpected: " + " ".join(words))
step = steps.pop(0)
state.write_text(json.dumps(steps))
heads = step["words"]
if len(words) < len(heads) or any(h not in w for h, w in zip(heads, words)):
    sys.exit(f"expected {{heads}}, got {{words}}")
if "write" in step:
    Path(words[-1]).write_bytes(Path(step["write"]).read_bytes())
if "print_file" in step:
    print(Path(step["print_file"]).read_text())
print(step.get("out", ""))
print(step.get("err", ""), file=sys.stderr)
sys.exit(step.get("code", 0))
"""


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """``adb(steps)``: puts a stand-in for adb into PATH that plays a dialogue back, step by step.

    Returns what is left of the dialogue when called without steps.
    """
    state, folder = tmp_path / "dialogue.json", tmp_path / "bin"

    def play(steps=None):
        if steps is None:
            return json.loads(state.read_text())
        state.write_text(json.dumps(steps))
        folder.mkdir(exist_ok=True)
        program = folder / "adb"
        program.write_text(STAND_IN.format(python=sys.executable, state=str(state)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return None

    return play
