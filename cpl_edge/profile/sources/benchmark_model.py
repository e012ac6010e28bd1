"""Text and CSV of TensorFlow Lite's ``benchmark_model --enable_op_profiling=true`` and LiteRT's.

Both print tables called "Run Order"; columns differ between versions, so they are read from each
table's own header (``tflite/profiling/profile_summarizer.cc`` and TensorFlow's
``stats_calculator.cc``; ``litert/runtime/profiler_summarizer.cc``). Times are means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from cpl_edge.errors import UserError
from cpl_edge.profile.events import Event
from cpl_edge.profile.model import NOT_HERE, Model, assemble
from cpl_edge.profile.schema import Call, Profile

ACCELERATORS = {
    "xnnpack": "XNNPACK",
    "gpudelegate": "GPU",
    "gpuv2": "GPU",
    "gpu delegate": "GPU",
    "nnapi": "NNAPI",
    "hexagon": "Hexagon",
    "coreml": "Core ML",
}
_TITLE = re.compile(r"=+ Run Order =+")
_OTHER = re.compile(r"=+ (?!Run Order).+ =+")
_LATENCY = re.compile(
    r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+), "
    r"Warmup \(avg\): ([\d.e+]+), Inference \(avg\): ([\d.e+]+)"
)


@dataclass
class _Section:
    """One "Run Order" table: what the lines before it said, and rows of type, mean ms, name."""

    title: str
    rows: list[tuple[str, float, float, str]] = field(default_factory=list)


def recognise(text: str) -> bool:
    """Whether a text holds such a table."""
    return bool(_TITLE.search(text)) and "node type" in text


def parse(text: str, source: str, model: Model, entry: str, **known: Any) -> Profile:
    """Read what the tool printed, or wrote to ``--op_profiling_output_file``.

    Args:
        text: of the file.
        source: its name.
        model: the file that was profiled, for modules and work; may be empty.
        entry: entry point, where the text has no ``Signature to run``.
        known: further fields of the profile.

    Raises:
        UserError: no table of single operators, or a damaged one.
    """
    sections = [s for s in _sections(text, source) if "Initialization" not in s.title]
    if not any(section.rows for section in sections):
        raise UserError(
            f"{source} holds no table of operators: run benchmark_model with "
            "--enable_op_profiling=true"
        )
    told = re.search(r"Signature to run: \[?(\w+)", text)
    notes = [NOT_HERE, "Times are means over the calls."]
    if told is None:
        notes.append(f"The file does not tell the entry point: {entry} was assumed.")
    entry = told[1] if told else entry
    inside = any(_is_inside(s, kind, name) for s in sections for kind, _, _, name in s.rows)
    accelerator = _accelerator(text, inside)
    events = []
    for section in sections:
        for kind, ms, times, name in section.rows:
            if inside and _is_whole(kind):
                continue
            on_delegate = _is_inside(section, kind, name) or _is_whole(kind)
            found = re.search(r"\[(.+?)\]:?(\d+)?$", name)
            aliases = {part.strip() for part in found[1].split(",")} if found else set()
            if found and found[2] and not on_delegate:
                aliases.add(f"#{found[2]}")
            operator = kind.removeprefix("Delegate/")
            if operator == "DelegateOpInvoke":  # the name is what matters there
                operator = name.removeprefix("Delegate/").rpartition(":")[0]
            events.append(
                Event(
                    entry=entry,
                    name=name.strip(),
                    operator=operator.split("/")[0],
                    delegate=(accelerator or "delegate") if on_delegate else "CPU",
                    times=(ms * 1e3,) if times else (),
                    aliases=frozenset(aliases),
                )
            )
    latency = _LATENCY.search(text)
    count = re.findall(r"count=(\d+)", text[: latency.start()] if latency else "")
    calls = []
    if latency:
        calls = [
            Call(
                entry=entry,
                runs=int(count[-1]) if count else None,
                mean_ms=float(latency[4]) / 1e3,
                first_ms=float(latency[2]) / 1e3,
            )
        ]
    graph = re.search(r"Graph: \[(?:.*/)?([^/\]]+)\]", text)
    threads = re.search(r"Num threads: \[(\d+)\]|--num_threads=(\d+)", text)
    peak = re.search(r"Overall peak memory footprint \(MB\).*?: ([\d.]+)", text)
    # The tool counts 2^20 bytes as one MB.
    own: dict[str, Any] = {
        "named": graph[1] if graph else None,
        "threads": int(threads[1] or threads[2]) if threads else None,
        "load_ms": float(latency[1]) / 1e3 if latency else None,
        "memory_peak_mb": float(peak[1]) * 2**20 / 1e6 if peak else None,
        "runtime": "LiteRT" if "[start]" in text else "TensorFlow Lite",
    }
    own = {key: value for key, value in own.items() if value is not None}
    return assemble(
        "benchmark_model",
        source,
        events,
        model,
        accelerator=accelerator,
        calls=calls,
        **({"notes": notes} | own | known),
    )


def _sections(text: str, source: str) -> list[_Section]:
    """All "Run Order" tables, with the last line of prose before each as its title."""
    found: list[_Section] = []
    title, columns, reading, csv = "", list[str](), False, False
    for line in text.splitlines():
        if _TITLE.search(line):
            found.append(_Section(title))
            columns, reading = [], True
        elif _OTHER.search(line) or not line.strip():
            reading = False
            title = title if _OTHER.search(line) or not line.strip() else line
        elif reading and "node type" in line:
            columns, csv = _columns(line), "[node type]" not in line
        elif reading and columns:
            row = _row(line, columns, csv)
            if row is None:
                raise UserError(f"{source}: a row of its table is damaged: {line.strip()[:60]!r}")
            found[-1].rows.append(row)
        else:
            title = line
    return found


def _columns(header: str) -> list[str]:
    if "[node type]" in header:
        return re.findall(r"\[([^\]]+)\]", header)
    return [part.strip().replace("avg_ms", "avg ms") for part in header.split(",")]


def _row(line: str, columns: list[str], csv: bool) -> tuple[str, float, float, str] | None:
    """Type, mean milliseconds, times called and name; the type may hold blanks and commas.

    In CSV the tool writes the commas of names as tabs.
    """
    numbers = len(columns) - 2
    number = r"[-+\d.e]+%?"
    gap = r"\s*,\s*" if csv else r"\s+"
    match = re.match(rf"\s*(.+?){gap}((?:{number}{gap}){{{numbers}}})(.*)$", line)
    if match is None:
        return None
    values = [v.strip("%") for v in re.split(r"[\s,]+", match[2].strip(" \t,"))]
    told = dict(zip(columns[1:-1], values, strict=True))
    name = re.sub(r"\t ?", ", ", match[3].strip())
    try:
        return match[1].strip(), float(told["avg ms"]), float(told["times called"]), name
    except (KeyError, ValueError):
        return None


def _is_whole(kind: str) -> bool:
    """Whether a row is a delegate's call as a whole."""
    return kind == "DELEGATE" or bool(re.fullmatch(r"TfLite\w+Delegate\w*(/.*)?", kind))


def _is_inside(section: _Section, kind: str, name: str) -> bool:
    """Whether a row is an operator inside a delegate."""
    return "Delegate internal" in section.title or "Delegate/" in f"{kind} {name}"


def _accelerator(text: str, inside: bool) -> str | None:
    low = text.lower()
    named = next((name for word, name in ACCELERATORS.items() if word in low), None)
    # XNNPACK is the delegate that LiteRT's CPU path uses, and the one with such names.
    return named or ("XNNPACK" if inside and re.search(r"\((NHWC|NC|ND), ?\w*", text) else None)
