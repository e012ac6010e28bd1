"""Machines and versions behind the figures, and the files that were read or could not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cpl_edge.report.document import (
    Block,
    Cell,
    Listing,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    rows,
    text,
)
from cpl_edge.report.results import Results

_MAIN = ("processor", "architecture", "cores", "system", "python")


def origins(results: Results) -> Section:
    """Where everything above comes from."""
    blocks: list[Block] = []
    told = list(told_by(results))
    if told:
        blocks += [_machines(told), _versions(told)]
    else:
        blocks.append(Paragraph("No result tells its machine."))
    blocks.append(
        Paragraph("Where a package has several versions, files differ in which one they ran.")
    )
    blocks.append(_files(results, told))
    if results.problems:
        blocks.append(Paragraph("Files that could not be used:"))
        blocks.append(Listing(tuple(results.problems)))
    return Section("origins", "Machine, versions, files", tuple(blocks))


def told_by(results: Results) -> Iterator[tuple[str, dict[str, Any], dict[str, str], str | None]]:
    """File, machine, versions and time of every result."""
    for cards in results.builds:
        yield cards.file, cards.value.machine, cards.value.versions, cards.value.date
    for suites in results.evaluations:
        yield suites.file, suites.value.machine, suites.value.versions, suites.value.date
    for run in results.latency:
        yield run.file, run.value.machine, run.value.versions, run.value.started
    for sizes in results.photos:
        yield sizes.file, sizes.value.machine, sizes.value.versions, sizes.value.started
    for prompts in results.prompts:
        yield prompts.file, prompts.value.machine, prompts.value.versions, prompts.value.date
    for search in results.searches:
        yield search.file, search.value.machine, search.value.versions, search.value.date
    for photo in results.single_photos:
        yield photo.file, photo.value.machine, photo.value.versions, photo.value.date
    for table in results.profiles:
        yield table.file, table.value.machine, table.value.versions, table.value.made


Told = list[tuple[str, dict[str, Any], dict[str, str], str | None]]


def machine_key(machine: dict[str, Any]) -> str:
    """What makes two machines the same one, as far as times are concerned."""
    return json.dumps([machine.get(key) for key in _MAIN[:4]])


def _machines(told: Told) -> Table:
    groups: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for file, machine, _, _ in told:
        key = json.dumps([machine.get(k) for k in _MAIN])
        known, files = groups.setdefault(key, ({}, set()))
        known.update(machine)
        files.add(file)
    cells = []
    for machine, files in groups.values():
        more = "; ".join(f"{k}: {_plain(v)}" for k, v in machine.items() if k not in _MAIN and v)
        cells.append(
            (
                *(text(machine.get(key)) for key in _MAIN),
                text(more) if more else missing("nothing more told"),
                number(len(files), 0),
            )
        )
    return Table("Machines", columns(*_MAIN, "more", "files #"), rows(cells))


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)


def _versions(told: Told) -> Table:
    found: dict[str, dict[str, set[str]]] = {}
    for file, _, versions, _ in told:
        for package, version in versions.items():
            found.setdefault(package, {}).setdefault(version, set()).add(file)
    cells = []
    for package in sorted(found):
        several = len(found[package]) > 1
        for version, files in sorted(found[package].items()):
            cells.append(
                (
                    text(package),
                    text(version, "note" if several else ""),
                    number(len(files), 0),
                )
            )
    return Table("Versions", columns("package", "version", "files #"), rows(cells))


def _files(results: Results, told: Told) -> Table:
    days: dict[str, list[str]] = {}
    for file, _, _, date in told:
        days.setdefault(file, [])
        if date:
            days[file].append(date[:10])
    cells: list[tuple[Cell, ...]] = []
    for file in results.files:
        known = days.get(file)
        cells.append((text(file), text(max(known)) if known else missing("not told")))
    return Table("Files read", columns("file", "measured on"), rows(cells))
