"""torch: the profiler of the reference itself, on a student's weights; modules by their names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from cpl_edge.errors import CplEdgeError, require
from cpl_edge.profile.events import Event
from cpl_edge.profile.model import ON_HOST, Model, assemble, here
from cpl_edge.profile.places import module_from_path
from cpl_edge.profile.quiet import quiet
from cpl_edge.profile.schema import Call, Profile
from cpl_edge.runtimes.torch import SIDE

_MARK, _CALL = "module:", "call of the entry point"
_WEIGHTED = {"aten::conv2d": "conv", "aten::linear": "linear", "aten::matmul": "matmul"}


def measure(model: Model, entry: str, threads: int, runs: int) -> Profile:
    """Profile a student's weights in torch, 256x256 pixels.

    Args:
        model: a ``.safetensors`` file.
        entry: entry point to call.
        threads: of torch.
        runs: measured calls, after three that do not count.
    """
    torch = require("torch", extra="train")
    from cpl_edge.models.zoo import load_student

    assert model.path is not None
    student = load_student(model.path)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    arguments = [x]
    if entry == "restore":
        arguments.append(torch.full((1, 1, student.config.prompts), 1 / student.config.prompts))
    function = getattr(student, entry)
    activities = [torch.profiler.ProfilerActivity.CPU]
    try:
        with quiet(), torch.inference_mode(), _marked(student):
            for _ in range(3):
                function(*arguments)
            with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
                for _ in range(runs):
                    with torch.profiler.record_function(_CALL):
                        function(*arguments)
    finally:
        torch.set_num_threads(before)
    return from_events(list(profiler.events()), model, entry, threads, torch.__version__)


def from_events(found: list[Any], model: Model, entry: str, threads: int, version: str) -> Profile:
    """Make the table of torch's events: the outermost operators inside each marked call.

    Raises:
        CplEdgeError: the calls differ in their operators.
    """
    calls = sorted((e for e in found if e.name == _CALL), key=lambda e: e.time_range.start)
    own = [[e for e in found if _call_of(e) is call] for call in calls]
    for operators in own:
        operators.sort(key=lambda e: e.time_range.start)
    names = [[(e.name, _module(e)) for e in operators] for operators in own]
    if not calls or any(name != names[0] for name in names):
        raise CplEdgeError(f"{entry} did not run the same operators in every call: try it again")
    events = []
    for i, first in enumerate(own[0]):
        macs, channels = _work(first)
        module = _module(first)
        events.append(
            Event(
                entry=entry,
                name=f"{first.name} #{i}",
                operator=first.name,
                delegate="CPU",
                times=tuple(float(operators[i].cpu_time_total) for operators in own),
                macs=macs,
                channels=channels,
                module=module_from_path(module) if module else None,
            )
        )
    whole = np.sort([float(call.cpu_time_total) / 1e3 for call in calls])
    return assemble(
        "torch",
        "measured here",
        events,
        model,
        calls=[
            Call(
                entry=entry,
                runs=len(whole),
                mean_ms=float(whole.mean()),
                p50_ms=float(np.percentile(whole, 50)),
                p90_ms=float(np.percentile(whole, 90)),
                min_ms=float(whole[0]),
                max_ms=float(whole[-1]),
                macs=sum(event.macs or 0 for event in events),
            )
        ],
        notes=[
            ON_HOST,
            "Times include the profiler's own cost, which weighs on small operators.",
            "The reference in eager mode: no accelerator was asked for.",
        ],
        device=here(),
        threads=threads,
        runtime=f"torch {version}",
    )


@contextmanager
def _marked(student: Any) -> Iterator[None]:
    """Let every module of the student mark its calls in the profile with its path."""
    torch = require("torch", extra="train")
    with ExitStack() as stack:
        for path, module in student.named_modules():
            if not path:
                continue
            open_marks: list[Any] = []

            def enter(_m: Any, _i: Any, path: str = path, marks: list[Any] = open_marks) -> None:
                marks.append(torch.profiler.record_function(_MARK + path))
                marks[-1].__enter__()

            def leave(_m: Any, _i: Any, _o: Any, marks: list[Any] = open_marks) -> None:
                marks.pop().__exit__(None, None, None)

            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield


def _call_of(event: Any) -> Any:
    """The marked call that an outermost operator is in; None for anything else."""
    if not event.name.startswith("aten::"):
        return None
    above = event.cpu_parent
    while above is not None and above.name.startswith(_MARK):
        above = above.cpu_parent
    return above if above is not None and above.name == _CALL else None


def _module(event: Any) -> str:
    """Path of the innermost module around an operator, or an empty string."""
    above = event.cpu_parent
    return above.name.removeprefix(_MARK) if above.name.startswith(_MARK) else ""


def _work(event: Any) -> tuple[int, tuple[int, int] | None]:
    """Multiply-accumulates and channels from the shapes of the inputs, stride and padding."""
    kind, shapes = _WEIGHTED.get(event.name), event.input_shapes
    if kind is None:
        return 0, None
    given, weight = shapes[0], shapes[1]
    if kind == "matmul":
        return math.prod(given) * weight[-1], (given[-1], weight[-1])
    if kind == "linear":
        return math.prod(given) * weight[0], (given[-1], weight[0])
    stride, padding = event.concrete_inputs[3:5]
    out = [
        (size + 2 * p - k) // s + 1
        for size, k, s, p in zip(given[2:], weight[2:], stride, padding, strict=True)
    ]
    return math.prod(weight) * math.prod(out), (given[1], weight[0])
