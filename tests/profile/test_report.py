"""Tables for people."""

import io

import pytest
from rich.console import Console

from cpl_edge.profile.report import headline, print_profile, sheets, to_markdown
from cpl_edge.profile.schema import Call, Device, Outside, Profile, Row


def row(module, us, **more):
    block = module.rpartition(".")[0] or None
    values = {"entry": "restore", "name": "n", "operator": "Conv", "delegate": "XNNPACK"}
    return Row(
        **values | {"module": module, "block": block, "microseconds": us, "share": us / 1000} | more
    )


@pytest.fixture
def profile():
    rows = (
        row("encoder.0.expand", 700, macs=7_000_000, gops=20, level="half", mapping="name"),
        row("encoder.0.scale", 298, macs=500, level="half", prompt_site="encoder.0"),
        row("tail", 2, operator="A|B [x]"),
    )
    left = Outside(entry="restore", operator="TOPK", ran_on="CPU", reason="why", rewrite="how")
    return Profile(
        kind="litert", source="file.txt", model="m.tflite", target="litert", precision="fp32",
        runtime="LiteRT", threads=2, device=Device(name="Phone"), accelerator="XNNPACK",
        calls=(Call(entry="restore", mean_ms=2, macs=7_000_500),), rows=rows, outside=(left,),
        notes=("A note.",), bytes=1234,
    )  # fmt: skip


def test_sums_by_module(profile):
    modules = {cells[0]: cells for cells in sheets(profile)[1].cells}
    assert modules["encoder.0"] == ["encoder.0", "half", "298", "998", "99.8%", "7.00", "14"]
    assert modules["tail"][3] == "2" and modules["tail"][5] == "-"


def test_work_of_a_module_is_unknown_where_one_rows_is(profile):
    rows = (profile.rows[0], profile.rows[1].model_copy(update={"macs": None}))
    modules = sheets(profile.model_copy(update={"rows": rows}))[1].cells
    assert modules[0][5] == "-"


def test_small_rows_are_left_out_and_said_to_be(profile):
    short = sheets(profile, every=False)[2]
    assert len(short.cells) == 2 and "1 of less than 0.5 %" in short.title
    assert len(sheets(profile)[2].cells) == 3


def test_terminal(profile):
    out = io.StringIO()
    print_profile(profile, Console(file=out, width=120))
    text = out.getvalue()
    assert "m.tflite, litert fp32, LiteRT, 2 threads, Phone" in text and "[file.txt]" in text
    assert "Left outside XNNPACK" in text and "how" in text and "A note." in text


def test_markdown(profile):
    text = to_markdown([profile])
    assert "A\\|B [x]" in text and "1,234 bytes" in text
    rows = [line for line in text.splitlines() if line.startswith("| encoder.0.expand")]
    assert rows == ["| encoder.0.expand | Conv | XNNPACK | 1 | 700 | 70.0% | 7.00 | 20 | name |"]
    heads = [line.count("|") for line in text.splitlines() if line.startswith("| encoder.0.")]
    assert set(heads) == {10}


def test_nothing_left_is_said(profile):
    assert "Nothing was left outside" in to_markdown([profile.model_copy(update={"outside": ()})])
    nothing = profile.model_copy(update={"outside": (), "accelerator": None})
    assert "left outside" not in to_markdown([nothing])


def test_headline_of_an_unknown_source():
    assert headline(Profile(kind="etdump", source="a.etdp")) == "unknown model [a.etdp]"
