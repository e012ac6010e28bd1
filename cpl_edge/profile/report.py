"""A profile for people: tables on the terminal, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cpl_edge.machine import machine, versions
from cpl_edge.profile.schema import UNKNOWN, Profile, Profiles, Row

_ROW_HEAD = ("module", "operator", "delegate", "calls", "us", "share", "MMAC", "GOP/s", "by")
_NUMBERS = (3, 4, 5, 6, 7)
_MODULE_HEAD = ("module", "level", "prompt us", "us", "share", "MMAC", "GOP/s")
_CALL_HEAD = ("entry", "runs", "mean ms", "p50", "p90", "p99", "first", "GMAC", "GOP/s")


@dataclass(frozen=True)
class Sheet:
    """A table as text: a title, a head and cells."""

    title: str
    head: Sequence[str]
    cells: list[list[str]]
    numbers: Sequence[int] = ()


def collect(profiles: Iterable[Profile]) -> Profiles:
    """Profiles with the machine that made their table, ready for JSON."""
    return Profiles(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(),
        profiles=tuple(profiles),
    )


def headline(profile: Profile) -> str:
    """One line: what, by what, on what."""
    about = [profile.model or "unknown model"]
    about += [" ".join(filter(None, (profile.target, profile.precision, profile.routing)))]
    about += [profile.runtime]
    if profile.threads:
        about.append(f"{profile.threads} thread" + "s" * (profile.threads > 1))
    about.append(f"{profile.device.name}{' (this machine)' if profile.device.here else ''}")
    return ", ".join(part for part in about if part and part != UNKNOWN) + f" [{profile.source}]"


def sheets(profile: Profile, every: bool = True) -> list[Sheet]:
    """All tables of a profile that have rows.

    Args:
        profile: one model file.
        every: False leaves out operators of less than half a percent, which the sums keep.
    """
    found = [_calls(profile), _modules(profile), _operators(profile, every), _outside(profile)]
    return [sheet for sheet in found if sheet.cells]


def print_profile(profile: Profile, console: Console) -> None:
    """Print one profile."""
    console.print(escape(headline(profile)), style="bold")
    for sheet in sheets(profile, every=False):
        table = Table(
            title=sheet.title,
            title_justify="left",
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            collapse_padding=True,
        )
        for i, name in enumerate(sheet.head):
            right = i in sheet.numbers
            table.add_column(
                name, justify="right" if right else "left", no_wrap=right, overflow="fold"
            )
        for row in sheet.cells:
            table.add_row(*map(escape, row))
        console.print(table)
    if profile.error:
        console.print(f"no figures: {escape(profile.error)}", style="red")
    elif profile.accelerator and not profile.outside and profile.rows:
        console.print(f"Nothing was left outside {escape(profile.accelerator)}.")
    for note in profile.notes:
        console.print(escape(note), style="italic")
    console.print()


def to_markdown(profiles: Iterable[Profile]) -> str:
    """All profiles as Markdown, with every row."""
    lines = ["# Profiles", ""]
    for profile in profiles:
        lines += [f"## {headline(profile)}", ""]
        lines += [f"{note}  " for note in profile.notes] + [""]
        if profile.error:
            lines += [f"No figures: {profile.error}", ""]
        elif profile.accelerator and not profile.outside and profile.rows:
            lines += [f"Nothing was left outside {profile.accelerator}.", ""]
        facts = {
            "file": f"{profile.bytes:,} bytes" if profile.bytes else None,
            "load": f"{profile.load_ms:.1f} ms" if profile.load_ms is not None else None,
            "peak memory": f"{profile.memory_peak_mb:.0f} MB" if profile.memory_peak_mb else None,
        } | dict(profile.device.details)
        lines += [", ".join(f"{key} {value}" for key, value in facts.items() if value), ""]
        for sheet in sheets(profile):
            lines += [f"### {sheet.title}", "", _line(sheet.head)]
            lines.append(_line(["---:" if i in sheet.numbers else "---" for i in _all(sheet)]))
            lines += [_line(row) for row in sheet.cells] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _all(sheet: Sheet) -> range:
    return range(len(sheet.head))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _calls(profile: Profile) -> Sheet:
    cells = []
    for call in profile.calls:
        ms = call.p50_ms if call.p50_ms is not None else call.mean_ms
        rate = 2 * call.macs / ms / 1e6 if call.macs and ms else None
        cells.append(
            [
                call.entry,
                "-" if call.runs is None else str(call.runs),
                *(
                    _figure(value, 3)
                    for value in (call.mean_ms, call.p50_ms, call.p90_ms, call.p99_ms)
                ),
                _figure(call.first_ms, 3),
                _figure(call.macs / 1e9 if call.macs is not None else None, 3),
                _figure(rate, 0),
            ]
        )
    return Sheet("Whole calls", _CALL_HEAD, cells, range(1, 9))


def _modules(profile: Profile) -> Sheet:
    """One row for each block, or module outside of blocks: where the time goes at a glance."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in profile.rows:
        own = row.block or (row.module.split(".")[0] if row.module != UNKNOWN else UNKNOWN)
        groups.setdefault((row.entry, own), []).append(row)
    several = len({entry for entry, _ in groups}) > 1
    cells = []
    for (entry, name), rows in groups.items():
        us = _sum(r.microseconds for r in rows)
        macs = None if any(r.macs is None for r in rows) else _sum(r.macs for r in rows)
        prompt = _sum(r.microseconds for r in rows if r.prompt_site)
        rate = 2 * macs / us / 1e3 if macs and us else None
        cells.append(
            [
                f"{entry}: {name}" if several else name,
                next((r.level for r in rows if r.level != UNKNOWN), UNKNOWN),
                _figure(prompt, 0),
                _figure(us, 0),
                _share(_sum(r.share for r in rows)),
                _figure(macs / 1e6 if macs is not None else None, 2),
                _figure(rate, 0),
            ]
        )
    return Sheet("By module", _MODULE_HEAD, cells, range(2, 7))


def _operators(profile: Profile, every: bool) -> Sheet:
    rows = [r for r in profile.rows if every or r.share is None or r.share >= 0.005]
    cells = [
        [
            row.module,
            row.operator,
            row.delegate,
            str(row.calls),
            _figure(row.microseconds, 0),
            _share(row.share),
            _figure(row.macs / 1e6 if row.macs is not None else None, 2),
            _figure(row.gops, 0),
            row.mapping,
        ]
        for row in rows
    ]
    left = len(profile.rows) - len(rows)
    title = "By operator" + (f" ({left} of less than 0.5 % not shown)" if left else "")
    return Sheet(title, _ROW_HEAD, cells, _NUMBERS)


def _outside(profile: Profile) -> Sheet:
    head = ("operator", "module", "ran on", "count", "us", "why", "what would help")
    cells = [
        [
            left.operator,
            left.module,
            left.ran_on,
            str(left.count),
            _figure(left.microseconds, 0),
            left.reason,
            left.rewrite,
        ]
        for left in profile.outside
    ]
    return Sheet(f"Left outside {profile.accelerator}", head, cells, (3, 4))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
