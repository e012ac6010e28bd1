"""From timed events of any source to the rows of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from cpl_edge.profile.graph import Graph, Node, of_entry
from cpl_edge.profile.places import Anchor, Kind, block_of, kind_of, modules_by_order, place
from cpl_edge.profile.schema import UNKNOWN, Mapping, Row


@dataclass(frozen=True)
class Event:
    """One operator as a source tells of it, in the order of execution.

    Attributes:
        entry: entry point.
        name: what the source calls it.
        operator: the source's word for what it does.
        delegate: what ran it.
        times: microseconds in each measured call of the entry point, or one mean; may be empty.
        aliases: other names that the model file may know it by.
        calls: how often one call of the entry point runs it.
        macs: multiply-accumulates, where the source tells shapes; the model file knows better.
        channels: input and output channels, likewise.
        module: where the source itself tells the module.
    """

    entry: str
    name: str
    operator: str
    delegate: str
    times: tuple[float, ...] = ()
    aliases: frozenset[str] = frozenset()
    calls: int = 1
    macs: int | None = None
    channels: tuple[int, int] | None = None
    module: str | None = None

    @property
    def kind(self) -> Kind:
        """What it is to the student."""
        return kind_of(self.operator)


@dataclass(frozen=True)
class _Placed:
    module: str = UNKNOWN
    mapping: Mapping = "unknown"
    macs: int | None = None


def make_rows(events: Iterable[Event], graphs: dict[str, Graph]) -> tuple[Row, ...]:
    """Place the events in the student, and add share and rate.

    Args:
        events: of one or more entry points, each in its order of execution.
        graphs: what the model file says, empty if it is not at hand.

    Returns:
        One row for each event, in their order, entry point by entry point.
    """
    by_entry: dict[str, list[Event]] = {}
    for event in events:
        by_entry.setdefault(event.entry, []).append(event)
    rows: list[Row] = []
    for entry, own in by_entry.items():
        times = [median(event.times) if event.times else None for event in own]
        total = sum(time for time in times if time is not None)
        placed = _place(own, of_entry(graphs, entry))
        rows += [
            _row(event, at, time, total) for event, at, time in zip(own, placed, times, strict=True)
        ]
    return tuple(rows)


def _row(event: Event, at: _Placed, time: float | None, total: float) -> Row:
    where = place(at.module)
    # Nothing else inside a block is linear or multiplies; what adds may be the block's own sum.
    applies = event.kind == "linear" or (event.kind == "other" and "mul" in event.operator.lower())
    rate = 2 * at.macs / time / 1e3 if at.macs and time else None
    return Row(
        entry=event.entry,
        name=event.name,
        module=at.module,
        level=where.level,
        block=where.block,
        prompt_site=where.block if applies else where.prompt_site,
        mapping=at.mapping,
        operator=event.operator,
        delegate=event.delegate,
        calls=event.calls,
        microseconds=time,
        share=time / total if time is not None and total > 0 else None,
        macs=at.macs,
        gops=rate,
    )


def _place(events: Sequence[Event], graph: Graph | None) -> list[_Placed]:
    """Weighted operators by name, else by order; the others belong to the one before them."""
    nodes = graph.nodes if graph else []
    by_name = {alias: node for node in nodes for alias in node.aliases}
    named = [_find(event, by_name) for event in events]
    anchors = [i for i, event in enumerate(events) if event.kind != "other"]
    placed: list[_Placed | None] = [None] * len(events)
    for i, (event, node) in enumerate(zip(events, named, strict=True)):
        if event.module is not None:
            placed[i] = _Placed(event.module, "name", event.macs)
        elif node is not None and node.module != UNKNOWN:
            placed[i] = _Placed(node.module, node.mapping, node.macs)
    if any(placed[i] is None for i in anchors):
        for i, at in zip(anchors, _by_order([events[i] for i in anchors], nodes), strict=True):
            placed[i] = placed[i] or at
    return _neighbours(events, placed)


def _find(event: Event, by_name: dict[str, Node]) -> Node | None:
    names = (event.name, *sorted(event.aliases))
    return next((by_name[name] for name in names if name in by_name), None)


def _by_order(events: Sequence[Event], nodes: Sequence[Node]) -> list[_Placed]:
    """Modules of weighted operators: one to one with the file's, else a student's own order."""
    known = [node for node in nodes if node.kind != "other"]
    same = len(events) == len(known) and all(map(_may_be, events, known))
    if known and same:
        return [
            _Placed(n.module, "unknown" if n.module == UNKNOWN else "order", n.macs) for n in known
        ]
    modules = modules_by_order([Anchor(e.kind, e.channels) for e in events])
    if modules is None:
        return [_Placed(macs=e.macs) for e in events]
    return [_Placed(m, "order", e.macs) for m, e in zip(modules, events, strict=True)]


def _may_be(event: Event, node: Node) -> bool:
    """XNNPACK runs a convolution of single pixels as a linear layer."""
    return event.kind == node.kind or (event.kind, node.kind) == ("linear", "conv")


def _neighbours(events: Sequence[Event], placed: list[_Placed | None]) -> list[_Placed]:
    """Operators without weights: of the block of the weighted one before, at the start after.

    Only where the same delegate ran both: sources tell operators outside a delegate in tables of
    their own, whose place between the others nobody knows.
    """
    weighted = [
        (at, e.delegate)
        for e, at in zip(events, placed, strict=True)
        if at is not None and e.kind != "other"
    ]
    last, delegate = weighted[0] if weighted else (_Placed(), UNKNOWN)
    done = []
    for event, at in zip(events, placed, strict=True):
        if at is None:
            module = block_of(last.module)
            # A delegate told as a whole covers what no single module could stand for.
            whole = event.operator.upper().startswith(("DELEGATE", "TFLITE"))
            known = module != UNKNOWN and not whole and event.delegate == delegate
            macs = 0 if event.macs is None and not whole else event.macs
            at = _Placed(module, "order", macs) if known else _Placed(macs=macs)
        if event.kind != "other":
            last, delegate = at, event.delegate
        done.append(at)
    return done
