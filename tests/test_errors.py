"""Errors, their exit codes, and that a missing extra is answered with a line that works."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

import cpl_edge
from cpl_edge.errors import CplEdgeError, GateFailed, ImageError, MissingExtra, UserError, require
from cpl_edge.export.targets import TARGETS

PACKAGE = Path(cpl_edge.__file__).parent


@pytest.mark.parametrize(
    ("kind", "code"),
    [(CplEdgeError, 1), (GateFailed, 1), (UserError, 2), (ImageError, 2), (MissingExtra, 2)],
)
def test_exit_codes(kind, code):
    assert kind("...").exit_code == code


def test_a_users_mistake_is_a_value_error():
    assert issubclass(UserError, ValueError)
    assert not issubclass(GateFailed, ValueError)


def test_require_returns_the_module():
    assert require("json.decoder", extra="train") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
def test_require_names_the_pip_line(module):
    with pytest.raises(MissingExtra, match=r"'no_such_package': pip install 'cpl-edge\[onnx\]'"):
        require(module, extra="onnx")


def test_require_does_not_hide_a_broken_package(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import another_missing_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_package"):
        require("broken_package", extra="onnx")


def required_extras() -> list[tuple[str, str]]:
    """Every ``require(..., extra="name")`` of the package, as (place, name); and the targets.

    An exporter asks for the extra of its target's name.
    """
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "require":
                values = [word.value for word in node.keywords if word.arg == "extra"]
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                literals = [v for v in values + node.args[1:] if isinstance(v, ast.Constant)]
                found += [(place, literal.value) for literal in literals]
    return found + [(f"target {name}", name) for name in TARGETS]


def test_every_extra_asked_for_exists():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(project["project"]["optional-dependencies"])
    found = required_extras()
    assert found, "the search finds no require() at all: did its name change?"
    assert [(place, extra) for place, extra in found if extra not in extras] == []
