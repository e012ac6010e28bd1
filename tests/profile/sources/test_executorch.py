"""ExecuTorch: ETDumps by its Inspector, whole calls here."""

import pytest

pytest.importorskip("executorch.devtools")

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.sources.executorch import measure, parse, recognise


@pytest.fixture(scope="module")
def profile(golden, golden_model):
    return parse(golden / "etdump.etdp", golden_model(".pte"), "restore")


def test_xnnpacks_operators_find_their_modules_by_order(profile):
    rows = {r.module: r for r in profile.rows if r.operator.startswith("Convolution")}
    assert set(rows) == {
        "head", "encoder.0.expand", "encoder.0.project", "down", "middle.0.expand",
        "middle.0.project", "middle.1.expand", "middle.1.project", "up", "decoder.0.expand",
        "decoder.0.project", "tail",
    }  # fmt: skip
    assert {r.mapping for r in rows.values()} == {"order"}
    assert rows["encoder.0.expand"].macs == 4 * 4 * 9 * 32 * 36
    assert rows["encoder.0.expand"].microseconds == 91  # 90 and 92 in the two runs
    assert rows["encoder.0.expand"].gops == pytest.approx(2 * 4 * 4 * 9 * 32 * 36 / 91e3)


def test_the_delegate_is_not_counted_twice(profile):
    assert "DELEGATE_CALL" not in {row.operator for row in profile.rows}
    inside = sum(row.microseconds for row in profile.rows if row.delegate == "XNNPACK")
    assert profile.calls[0].runs == 2
    assert inside < profile.calls[0].mean_ms * 1e3 < inside + 100
    assert profile.load_ms == pytest.approx(5.2)


def test_what_was_left_outside(profile):
    (left,) = profile.outside
    assert (left.operator, left.ran_on, left.microseconds) == ("topk.values", "CPU", 31)
    assert "no top-k" in left.reason and "maximum" in left.rewrite


def test_without_the_model_the_order_still_helps(golden):
    profile = parse(golden / "etdump.etdp", Model(), "restore")
    assert "encoder.0.expand" in {row.module for row in profile.rows}
    assert all(row.gops is None for row in profile.rows)


def test_truncated(golden, tmp_path):
    cut = tmp_path / "cut.etdp"
    cut.write_bytes((golden / "etdump.etdp").read_bytes()[:3000])
    assert recognise(cut.read_bytes())
    with pytest.raises(UserError, match="no whole ETDump"):
        parse(cut, Model(), "forward")


def test_here_whole_calls_only(golden_model):
    profile = measure(golden_model(".pte"), "restore", threads=1, runs=2)
    assert any("no event tracer" in note for note in profile.notes)
    assert profile.calls[0].p50_ms > 0 and profile.calls[0].macs > 0
    assert all(row.microseconds is None for row in profile.rows)
    assert "encoder.0.expand" in {row.module for row in profile.rows} and not profile.outside
