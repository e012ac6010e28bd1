"""Where the time goes: operators and modules of each profiled file, and what was left outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpl_edge.profile.schema import UNKNOWN, Outside, Profile, Row
from cpl_edge.report.charts.bars import Bar, bars
from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Details,
    Listing,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    percent,
    rows,
    text,
)
from cpl_edge.report.results import Results

_COMMANDS = (
    "python -m cpl_edge.profile s --json benchmarks/results/profile-NAME.json",
    "python -m cpl_edge.profile --import FILE --model build/NAME "
    "--json benchmarks/results/profile-NAME.json",
)
_SHOWN = 40  # modules of a chart; the table holds all


def profiles(results: Results) -> Section:
    """All profiles in one table, then each one's modules, operators and outsiders."""
    found = _all(results)
    blocks: list[Block] = []
    if not found:
        blocks.append(Paragraph("Not measured: no profile is committed."))
    else:
        blocks.append(_overview(found))
        outside = [(p, o) for p in found for o in p.outside]
        if outside:
            blocks.append(_outside(outside))
        else:
            blocks.append(Paragraph("No profiled file left an operator outside its accelerator."))
        blocks += [_one(profile) for profile in found if profile.rows or profile.notes]
    blocks.append(Commands(_COMMANDS))
    return Section("profiles", "Profiles by layer", tuple(blocks))


def elsewhere(results: Results) -> str:
    """Names of the devices that profiles were imported from, none twice."""
    names = [p.device.name for p in _all(results) if not p.device.here and not p.error]
    known = ["a device that its file does not name" if n == UNKNOWN else n for n in names]
    return ", ".join(dict.fromkeys(known))


def _all(results: Results) -> list[Profile]:
    return [profile for found in results.profiles for profile in found.value.profiles]


def _title(profile: Profile) -> str:
    words = (profile.model or profile.source, profile.precision, profile.runtime)
    return ", ".join(word for word in words if word and word != UNKNOWN)


def _where(profile: Profile) -> Cell:
    if profile.device.here:
        return text("this machine")
    name = "not told" if profile.device.name == UNKNOWN else profile.device.name
    return text(f"imported: {name}", "note")


def _overview(found: Sequence[Profile]) -> Table:
    heads = columns(
        "file",
        "runtime",
        "where",
        "threads #",
        "entry",
        "runs #",
        "mean, ms #",
        "p50, ms #",
        "p90, ms #",
        "operators #",
        "left outside #",
        "remark",
    )
    cells: list[Sequence[Cell]] = []
    for p in found:
        for call in p.calls or (None,):
            of_entry = [row for row in p.rows if call is None or row.entry == call.entry]
            outside = [o for o in p.outside if call is None or o.entry == call.entry]
            cells.append(
                (
                    text(_title(p)),
                    text(p.runtime) if p.runtime != UNKNOWN else missing("not told"),
                    _where(p),
                    number(p.threads, 0),
                    text(call.entry) if call else missing(),
                    number(call.runs if call else None, 0),
                    number(call.mean_ms if call else None),
                    number(call.p50_ms if call else None),
                    number(call.p90_ms if call else None),
                    number(len(of_entry) or None, 0),
                    number(sum(o.count for o in outside), 0)
                    if p.accelerator
                    else missing("no accelerator"),
                    text(f"failed: {p.error}", "bad") if p.error else text(""),
                )
            )
    return Table("Profiled files", heads, rows(cells))


def _outside(found: Sequence[tuple[Profile, Outside]]) -> Table:
    heads = columns(
        "file", "entry", "operator", "module", "nodes #", "ran on", "us #", "why", "what would help"
    )
    cells = [
        (
            text(_title(p)),
            text(o.entry),
            text(o.operator),
            text(o.module),
            number(o.count, 0),
            text(o.ran_on),
            number(o.microseconds, 0),
            text(o.reason),
            text(o.rewrite),
        )
        for p, o in found
    ]
    return Table("Operators left outside the accelerator", heads, rows(cells))


def _one(profile: Profile) -> Details:
    blocks: list[Block] = []
    if profile.notes:
        blocks.append(Listing(profile.notes))
    for entry in dict.fromkeys(row.entry for row in profile.rows):
        of_entry = [row for row in profile.rows if row.entry == entry]
        if chart := _modules(profile, entry, of_entry):
            blocks.append(chart)
        else:
            blocks.append(Paragraph(f"{entry}: times of operators: not told by the source."))
        blocks.append(_operators(profile, entry, of_entry))
    where = "this machine" if profile.device.here else "imported"
    return Details(f"{_title(profile)} ({where})", tuple(blocks))


def _modules(profile: Profile, entry: str, found: Iterable[Row]) -> Chart | None:
    """Bars by module, coloured by level, in the order in which they run."""
    times: dict[tuple[str, str], float] = {}
    for row in found:
        if row.microseconds is not None:
            key = (_module(row), row.level)
            times[key] = times.get(key, 0) + row.microseconds
    total = sum(times.values())
    if not total:
        return None
    shown = sorted(times.items(), key=lambda item: -item[1])[:_SHOWN]
    kept = {key for key, _ in shown}
    items = [
        Bar(module, {level: us}, f"{us:,.0f} us, {us / total:.1%}")
        for (module, level), us in times.items()
        if (module, level) in kept
    ]
    longest = ", ".join(f"{key[0]} {us / total:.0%}" for key, us in shown[:3])
    left = len(times) - len(items)
    rest = f" The {left} shortest modules are in the table only." if left > 0 else ""
    return Chart(
        f"{_title(profile)}: time of {entry} by module",
        bars(items),
        f"In the order in which they first run. Longest: {longest}.{rest}",
    )


def _module(row: Row) -> str:
    return row.operator if row.module == UNKNOWN else row.module


def _operators(profile: Profile, entry: str, found: Sequence[Row]) -> Table:
    heads = columns(
        "module", "level", "operator", "delegate", "calls #", "us #", "share #", "MMAC #", "GOP/s #"
    )
    cells = [
        (
            missing("unknown") if row.module == UNKNOWN else text(row.module),
            missing("unknown") if row.level == UNKNOWN else text(row.level),
            text(row.operator),
            missing("unknown") if row.delegate == UNKNOWN else text(row.delegate),
            number(row.calls, 0),
            number(row.microseconds, 1),
            percent(row.share, 1),
            number(None if row.macs is None else row.macs / 1e6, 1),
            number(row.gops, 0),
        )
        for row in found
    ]
    return Table(f"{_title(profile)}: operators of {entry}", heads, rows(cells))
