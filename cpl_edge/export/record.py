"""A record of refused builds: one JSON list of cards, kept up to date by the command itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError

Card = dict[str, Any]


def record(path: Path, cards: Sequence[Card]) -> None:
    """Enter builds into a record.

    A refused build is added, or takes the place of an older one of the same name; a build that
    passed is removed, so the record never tells of a refusal that is no longer true.

    Args:
        path: the record, made if there is none.
        cards: of all builds of a command, see `cpl_edge.export.card`.

    Raises:
        UserError: the file exists and is no such record.
    """
    kept = {name(card): card for card in read_record(path)}
    for card in cards:
        kept.pop(name(card), None)
        if "refused" in card:
            kept[name(card)] = card
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> list[Card]:
    """Cards of a record; none if there is no such file.

    Raises:
        UserError: it holds something else.
    """
    if not path.exists():
        return []
    try:
        cards = json.loads(path.read_text(encoding="utf-8"))
        for card in cards:
            name(card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of refused builds: give another file") from error
    found: list[Card] = cards
    return found


def name(card: Card) -> tuple[object, ...]:
    """What tells two builds apart."""
    recipe = card["recipe"]
    fixed = ("target", "precision", "routing", "degradation")
    return card["student"], *(recipe[key] for key in fixed), tuple(recipe["size"])
