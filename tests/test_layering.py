"""The arrows of the architecture: who may import whom, and that restoring never needs torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cpl_edge

PACKAGE = Path(cpl_edge.__file__).parent

# Room -> the rooms right below it; what those may import, it may import too.
BELOW = {
    "models": [],
    "data": [],
    "losses": ["models"],
    "train": ["losses", "models", "data"],
    "quantize": ["models", "data"],
    "runtimes": [],
    "export": ["quantize", "models", "runtimes"],
    "restore": ["runtimes", "data"],
    "evaluate": ["restore", "data"],
    "benchmark": ["evaluate"],
    "profile": ["evaluate"],
    "report": ["benchmark", "profile"],
    "serve": ["restore"],
    "demo": ["evaluate"],
    "search": ["train", "export", "benchmark"],
}
# Files that may do more, each with its reason.
EXCEPTIONS = {
    "runtimes/torch.py": {"models"},  # the torch runtime runs the network itself
    "evaluate/prompts_networks.py": {"models"},  # it forces prompts on the networks themselves
    "benchmark/peers.py": {"models"},  # it exports the networks that are compared with
    "profile/sources/torch.py": {"models"},  # it profiles the network itself
    "train/qat.py": {"quantize"},  # it trains a student in the simulation of a quantised one
    "quantize/latency.py": {"export", "runtimes"},  # it times builds, to say what a recipe costs
    "report/builds_table.py": {"quantize"},  # what targets do not do stands in that table alone
    "benchmark/training.py": {"train"},  # it times the training itself
    "benchmark/plain_loop.py": {"losses", "models", "train"},  # what it is timed against
}
# Ground that every room stands on.
COMMON = {"__init__", "__main__", "cli", "errors", "machine", "recipe", "shipped"}
# Optional or heavy packages, which a device that only restores does not have.
HEAVY = {
    "ai_edge_quantizer",
    "coremltools",
    "executorch",
    "litert_torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "skimage",
    "torch",
    "torchao",
}


def sources() -> list[str]:
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return sorted(path.as_posix() for path in paths if path.parts[0] != "_shipped")


def imports(source: str, whole_file: bool) -> Iterator[str]:
    """Dotted names that a source imports; only those of its import time unless whole_file."""
    pending: list[ast.AST] = [ast.parse((PACKAGE / source).read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = ["cpl_edge", *Path(source).parent.parts]
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        if whole_file or not lazy:
            pending.extend(ast.iter_child_nodes(node))


def allowed(room: str) -> set[str]:
    return {room}.union(*(allowed(below) for below in BELOW[room]))


def rooms_imported(source: str) -> set[str]:
    names = (name.split(".") for name in imports(source, whole_file=True))
    modules = {parts[1] for parts in names if parts[0] == "cpl_edge" and len(parts) > 1}
    return {name for name in modules if (PACKAGE / name).is_dir()}


def is_light(source: str) -> bool:
    """Whether a source belongs to what a device that only restores runs."""
    return source.startswith(("runtimes/", "restore/")) or source in {
        "data/__init__.py",
        "data/images.py",
        *(f"{name}.py" for name in COMMON),
    }


def test_every_room_has_its_place():
    rooms = {source.split("/")[0] for source in sources() if "/" in source}
    assert rooms <= set(BELOW)
    assert {source for source in sources() if "/" not in source} <= {f"{n}.py" for n in COMMON}


@pytest.mark.parametrize("source", [source for source in sources() if "/" in source])
def test_arrows_point_one_way(source):
    room = source.split("/")[0]
    forbidden = rooms_imported(source) - allowed(room) - EXCEPTIONS.get(source, set())
    assert not forbidden, f"cpl_edge/{source} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("source", [source for source in sources() if "/" not in source])
def test_common_ground_imports_no_room(source):
    assert not rooms_imported(source)


@pytest.mark.parametrize("source", [source for source in sources() if is_light(source)])
def test_restoring_imports_nothing_heavy(source):
    tops = {name.split(".")[0] for name in imports(source, whole_file=False)}
    if source == "runtimes/torch.py":
        tops -= {"torch", "safetensors"}
    assert not tops & HEAVY


def test_no_module_imports_itself_through_a_star():
    stars = [s for s in sources() if any(n.endswith(".*") for n in imports(s, whole_file=True))]
    assert stars == []


def test_restoring_leaves_torch_out_of_the_process():
    code = (
        "import sys\n"
        "import cpl_edge.restore.restorer, cpl_edge.runtimes.litert, cpl_edge.data.images\n"
        f"heavy = sorted({HEAVY!r} & set(sys.modules))\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
