import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from cpl_edge.report.document import Crop, Crops, Document, Paragraph, Section
from cpl_edge.report.html import to_html

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Every element with its attributes; fails where tags do not close each other."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in {"rect", "line", "circle", "polygon", "polyline"} and self.open[-1] != tag:
            return
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(document):
    return to_html(document)


@pytest.fixture(scope="module")
def elements(page):
    return Page(page).elements


def test_nothing_comes_from_elsewhere(page, elements):
    links = [a[k] for _, a in elements for k in ("src", "href", "action", "srcset") if k in a]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"(?i)https?:|@import|url\(|\bfetch\(|XMLHttpRequest|//cdn", page)
    (policy,) = [a["content"] for t, a in elements if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_leads_somewhere(elements):
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, a in elements:
        for key in ("aria-labelledby", "aria-describedby"):
            if key in a:
                assert a[key] in ids
        if str(a.get("href", "")).startswith("#"):
            assert a["href"][1:] in ids


def test_every_chart_has_a_title_and_words(page, elements, document):
    drawn = [a for _, a in elements if a.get("role") == "img"]
    assert len(drawn) == page.count("<svg")
    assert len(drawn) > 8
    assert all(a["aria-labelledby"] and a["aria-describedby"] for a in drawn)


def test_charts_are_well_formed(page):
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        ElementTree.fromstring(svg)


def test_tables_scroll_in_their_own_box_and_sort_by_buttons(page, elements):
    boxes = [a for _, a in elements if a.get("class") == "scroll"]
    assert len(boxes) == page.count("<table")
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in boxes)
    assert page.count('<th scope="row"') > 20
    assert '<button type="button">p50, ms</button>' in page


def test_words_of_results_are_text_and_nothing_else(page):
    assert "A paper &lt;b&gt;" in page
    assert "A paper <b>" not in page


def test_what_was_not_measured_carries_no_value_to_sort_by(page):
    cells = re.findall(r"<t[dh][^>]*>not measured<", page)
    assert cells
    assert all("data-sort" not in cell and "missing" in cell for cell in cells)


def test_a_cell_that_says_its_own_number_does_not_say_it_twice(page):
    cells = re.findall(r'class="number[^>]*?(?: data-sort="([^"]*)")?>([^<]*)</td>', page)
    assert any(key == "" and text.isdigit() for key, text in cells)
    assert any(key and key != text for key, text in cells)
    assert all(key != text for key, text in cells)


def test_a_crop_has_three_pictures_with_words_and_a_named_slider():
    crop = Crop("crop-a", "noise & co", "better", "data:a", "data:b", "data:c", 8)
    page = to_html(Document("t", "l", (Section("s", "S", (Crops((crop,)), Paragraph("a < b"))),)))
    elements = Page(page).elements
    pictures = [a for t, a in elements if t == "img"]
    assert [a["src"] for a in pictures] == ["data:b", "data:a", "data:c"]
    assert all(a["alt"].endswith("noise & co") for a in pictures)
    (slider,) = [a for t, a in elements if a.get("type") == "range"]
    assert "noise & co" in slider["aria-label"]
    assert "a &lt; b" in page
