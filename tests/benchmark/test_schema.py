import json
from pathlib import Path

import pytest

from cpl_edge.benchmark.results import check_results, write_result
from cpl_edge.benchmark.schema import LatencyRun, PhotoRun, read_run
from cpl_edge.errors import UserError

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize(
    ("name", "table"), [("latency.json", LatencyRun), ("photos.json", PhotoRun)]
)
def test_a_result_of_an_earlier_version_is_still_read(name, table):
    run = read_run(GOLDEN / name, table)
    assert run.model_dump(mode="json") == json.loads((GOLDEN / name).read_text())


def test_the_golden_latency_run_agrees_with_itself():
    run = read_run(GOLDEN / "latency.json", LatencyRun)
    assert len({row.key for row in run.rows}) == len(run.rows)
    measured = [row for row in run.rows if row.refused is None]
    assert measured and {row.kind for row in measured} == {"student", "peer"}
    assert any(row.refused is not None for row in run.rows)
    for row in measured:
        assert row.p50_ms <= row.p90_ms <= row.p99_ms
        assert len(row.rounds_ms) == run.rule["rounds"]
        (roof,) = (roof for roof in run.roofline if roof.threads == row.threads)
        assert row.gops == pytest.approx(2 * row.macs / row.p50_ms / 1e6, rel=1e-3)
        assert row.share_of_peak == pytest.approx(row.gops / roof.fp32_gflops, rel=1e-3)
    for ratio in run.ratios:
        assert ratio.low <= ratio.ratio <= ratio.high


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "is no latency result"),
        ('{"kind": "photos"}', "is no latency result"),
        ('{"kind": "latency", "format": 9}', "has version 9 and this product reads 1"),
        ('{"kind": "latency", "format": 1}', "is damaged at suite"),
        (b"\xff\xfe", "is no JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=reason) as caught:
        read_run(path, LatencyRun)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"gone\.json cannot be read"):
        read_run(tmp_path / "gone.json", LatencyRun)


def test_results_are_never_overwritten(tmp_path, latency_run):
    run = latency_run({"peer": (1.0,)}, mode="quick")
    paths = [write_result(run, tmp_path) for _ in range(3)]
    assert [path.name for path in paths] == [
        "latency-test-20260102-030405-quick.json",
        "latency-test-20260102-030405-quick-2.json",
        "latency-test-20260102-030405-quick-3.json",
    ]
    assert all(read_run(path, LatencyRun) == run for path in paths)


def test_a_folder_that_takes_no_results(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give another --results"):
        check_results(tmp_path / "file")
    check_results(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
