"""The page in a real browser; skipped where no browser, or no way to drive one, is installed.

It takes the package playwright (its Python client alone, no browser of its own) and a Chromium or
Chrome of the system, on Debian: apt install chromium. CPL_EDGE_BROWSER names another one.
"""

import os
import shutil

import pytest

from cpl_edge.report.document import Crop, Crops, Document, Section
from cpl_edge.report.html import to_html

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DOT = (  # one WebP pixel
    "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    path = os.environ.get("CPL_EDGE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(document, tmp_path_factory):
    crop = Crop("crop-noise", "noise 25, photo none", "synthetic", DOT, DOT, DOT, 224)
    pictures = Section("pictures", "Before and after", (Crops((crop,)),))
    whole = Document(document.title, document.lead, (*document.sections, pictures))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(whole), "utf-8")
    return path.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the page at a width, light or dark; any error or message on its console fails."""
    opened, said = [], []

    def open_(width=1280, theme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, offline=True
        )
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else said.append(request.url)
            ),
        )
        page.goto(address)
        return page

    yield open_
    for context in opened:
        context.close()
    assert said == []


def column(table, index):
    return [
        row.locator("th, td").nth(index).inner_text() for row in table.locator("tbody tr").all()
    ]


def test_a_heading_sorts_and_what_was_not_measured_stays_last(open_page):
    page = open_page()
    table = page.locator("#latency table").first
    heading = table.locator("thead th", has_text="p50, ms")
    button = heading.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    falling = column(table, 6)
    assert falling[-1] == "not measured"
    figures = [float(text) for text in falling[:-1]]
    assert figures == sorted(figures, reverse=True)
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = column(table, 6)
    assert rising[-1] == "not measured"
    assert rising[:-1] == falling[-2::-1] or [float(t) for t in rising[:-1]] == sorted(figures)
    assert page.locator("#spoken").inner_text() == "sorted by p50, ms, ascending"
    table.locator("thead th", has_text="runtime").get_by_role("button").click()
    assert heading.get_attribute("aria-sort") is None


def test_the_slider_moves_by_keyboard_and_by_pointer(open_page):
    page = open_page()
    stage = page.locator("#crop-noise .stage")
    slider = stage.get_by_role("slider")

    def split():
        return stage.evaluate("e => getComputedStyle(e).getPropertyValue('--split').trim()")

    assert split() == "50%"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert split() == "51%"
    assert slider.get_attribute("aria-valuetext") == "51 % degraded"
    page.keyboard.press("Home")
    assert split() == "0%"
    stage.scroll_into_view_if_needed()  # a click beyond the window would reach nothing
    box = stage.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert 77 <= float(split().removesuffix("%")) <= 83
    page.locator("#crop-noise .swap").click()
    assert slider.get_attribute("aria-valuetext").endswith("clean")
    assert page.locator("#crop-noise .swap").get_attribute("aria-pressed") == "true"
    assert stage.locator("img.clean").is_visible()
    assert not stage.locator("img.degraded").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_switch_turns_the_colours_of_the_system_around(theme, open_page):
    page = open_page(theme=theme)

    def brightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    before = brightness()
    assert (before > 600) == (theme == "light")
    page.locator("#theme").click()
    assert (brightness() > 600) != (theme == "light")
    for _ in range(5):  # a busy browser writes its storage only after a while
        page.reload()
        if kept := (brightness() > 600) != (theme == "light"):
            break
        page.wait_for_timeout(200)
    assert kept  # the reader's choice
    page.locator("#theme").click()
    assert brightness() == before


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_page(width, open_page):
    page = open_page(width)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    beyond = page.evaluate(
        """[...document.querySelectorAll("body *")]
        .filter(e => !e.closest(".scroll, pre, nav, .skip, .hidden"))
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`)"""
    )
    assert beyond == []
