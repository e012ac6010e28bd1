import io

import pytest
from rich.console import Console

from cpl_edge.search import report as module
from cpl_edge.search.report import markdown, print_report, tables, write_report
from cpl_edge.search.results import Agreement, Figures


@pytest.fixture(name="result")
def of_three(make_run, make_result, conditions):
    """Two seeds of a, one of b, and an oracle that cannot route."""
    oracle = tuple(Figures(condition=c["label"], input=10.0, told=33.0) for c in conditions)
    runs = [
        make_run("a", 0, routed=(20, 30, 27, 5), latency_ms={"litert dynamic": 2.0}),
        make_run("b", 0, routed=(22, 32, 29, 6), not_exported="it cannot"),
        make_run("oracle", 0).model_copy(update={"figures": oracle}),
        make_run("a", 1, routed=(21, 31, 28, 6), latency_ms={"litert dynamic": 2.0}),
    ]
    agreement = (Agreement(part=0.5, spearman=0.25, best_kept=False),)
    return make_result(runs, agreement=agreement)


def test_the_first_table_has_means_and_spreads_over_seeds(result):
    title, rows = tables(result)[0]
    assert title == "Routed by itself"
    assert rows[0] == ["candidate", "mean seen", "noise 15", "noise 50", "rain", "jpeg"]
    assert rows[1] == ["input", "10.00", "10.00", "10.00", "10.00", "10.00"]
    means = ("26.50", "20.50", "30.50", "27.50", "5.50")
    assert rows[2] == ["a", *(f"{mean} ± 0.50" for mean in means)]
    assert rows[3] == ["b", "28.00", "22.00", "32.00", "29.00", "6.00"]
    assert len(rows) == 4  # not the oracle


def test_the_second_table_has_the_oracle(result):
    _, rows = tables(result)[1]
    assert [row[0] for row in rows] == ["candidate", "a", "b", "oracle"]
    assert rows[3][1:] == ["33.00"] * 5


def test_the_last_table_has_costs(result):
    _, rows = tables(result)[2]
    assert rows[0][:6] == ["candidate", "seeds", "parameters", "MMAC", "s", "litert dynamic ms"]
    assert rows[1][:6] == ["a", "2", "7,000", "3", "1", "2.00"]
    assert rows[2][5] == ""
    assert rows[1][-1] == "A"


def test_markdown_holds_everything(result):
    text = markdown(result)
    assert "4 of 9 runs, 10 steps each, trained on 3 images; 2 held-out crops of 32x32" in text
    assert "| b | 28.00 | 22.00 | 32.00 | 29.00 | 6.00 |" in text
    assert "| 50% | 0.25 | no |" in text
    assert "- b: it cannot" in text
    assert "![" in text


def test_the_terminal_shows_the_same_cells(result, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=out, width=200))
    print_report(result)
    text = out.getvalue()
    for _, rows in tables(result):
        assert all(cell in text for row in rows for cell in row)


def test_nothing_yet_is_no_table(make_result):
    assert tables(make_result([])) == []


def test_without_routers_there_is_no_picture_of_selections(make_run, make_result, tmp_path):
    write_report(make_result([make_run(selected=[()] * 4)]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tiny-front.svg",
        "tiny.json",
        "tiny.md",
    ]
