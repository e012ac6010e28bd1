"""The report as one HTML file that needs nothing else: style, script, charts and crops inside."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from cpl_edge.errors import require
from cpl_edge.report.document import Document

TEMPLATES = Path(__file__).parent / "templates"


def to_html(document: Document) -> str:
    """Write a report as a page.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.tests["kind"] = _is_kind
    numbers = itertools.count(1)
    page: str = environment.get_template("page.html").render(
        document=document,
        style=_inline("style.css"),
        script=_inline("script.js"),
        unique=lambda: f"id{next(numbers)}",
    )
    return page


def _is_kind(block: Any, name: str) -> bool:
    """Whether a block is a ``Table``, ``Chart``, ..."""
    return type(block).__name__ == name


def _inline(name: str) -> Any:
    """A file of the package to stand inside the page as it is."""
    markup = require("markupsafe", extra="report").Markup
    return markup((TEMPLATES / name).read_text(encoding="utf-8"))
