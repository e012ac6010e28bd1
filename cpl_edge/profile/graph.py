"""What a model file says about its own operators: names, modules and work.

A profile alone often has bare names such as ``Convolution #12``; the file that was profiled tells
where in the student that is and how many multiply-accumulates it takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cpl_edge.profile.places import Anchor, Kind, block_of, modules_by_order
from cpl_edge.profile.schema import UNKNOWN, Mapping

GRAPH = "graph"
"""Entry point under which a format without entry points (ONNX) keeps its one graph."""


@dataclass(frozen=True)
class Node:
    """One operator of a model file.

    Attributes:
        operator: the format's word.
        kind: what it is to the student.
        aliases: names by which a profile may call it: its own and those of its outputs.
        module: path in the student, or ``unknown``.
        mapping: how the module was found.
        macs: multiply-accumulates of one run; 0 for an operator without weights, None if unknown.
        channels: input and output channels of an operator with weights, if known.
    """

    operator: str
    kind: Kind
    aliases: frozenset[str] = frozenset()
    module: str = UNKNOWN
    mapping: Mapping = "unknown"
    macs: int | None = None
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class Graph:
    """The operators of one entry point in file order, and which of them the accelerator leaves.

    Attributes:
        nodes: the operators.
        left: operators outside the accelerator, where the file itself tells (ExecuTorch).
        partitions: pieces that the accelerator takes it in, or None if the file does not tell.
    """

    nodes: list[Node]
    left: list[Node] = field(default_factory=list)
    partitions: int | None = None

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one call, or None if those of any operator are unknown."""
        counts = [node.macs for node in self.nodes if node.kind != "other"]
        known = [count for count in counts if count is not None]
        return sum(known) if counts and len(known) == len(counts) else None


READERS = {".onnx": "onnx", ".tflite": "litert", ".pte": "executorch"}
"""Suffix -> module of `cpl_edge.profile.graphs` whose ``read`` reads the file."""


def read_graphs(path: Path | None) -> dict[str, Graph]:
    """Read the operators of a model file.

    Args:
        path: the file, or None if it is not at hand.

    Returns:
        Entry point (or :data:`GRAPH`) -> its operators; empty where the format has no reader.

    Raises:
        MissingExtra: the package that reads the format is not installed.
    """
    name = READERS.get(path.suffix.lower()) if path is not None else None
    if path is None or name is None:
        return {}
    module = importlib.import_module(f"cpl_edge.profile.graphs.{name}")
    read: Callable[[Path], dict[str, Graph]] = module.read
    return read(path)


def named_by_order(nodes: list[Node], mapping: Mapping = "order") -> list[Node]:
    """Give the weighted nodes their modules by the student's order; all unknown if it is another.

    Args:
        nodes: of one entry point, in file order.
        mapping: what to say of how they were found.
    """
    weighted = [node for node in nodes if node.kind != "other"]
    modules = modules_by_order([Anchor(node.kind, node.channels) for node in weighted])
    if modules is None:
        return nodes
    known = iter(modules)
    return [
        node if node.kind == "other" else replace(node, module=next(known), mapping=mapping)
        for node in nodes
    ]


def with_neighbours(nodes: list[Node]) -> list[Node]:
    """Operators without weights belong to the block of the weighted one before them."""
    last = next((node.module for node in nodes if node.kind != "other"), UNKNOWN)
    done = []
    for node in nodes:
        if node.kind != "other":
            last = node.module
        elif node.module == UNKNOWN and last != UNKNOWN:
            node = replace(node, module=block_of(last), mapping="order")
        done.append(node)
    return done


def of_entry(graphs: dict[str, Graph], entry: str) -> Graph | None:
    """The graph of an entry point, or the only one of a format that has no entry points."""
    return graphs.get(entry) or graphs.get(GRAPH)
