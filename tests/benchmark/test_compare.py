import json

import pytest

from cpl_edge.benchmark.compare import compare
from cpl_edge.benchmark.results import write_result
from cpl_edge.errors import UserError

PEER, S = (10.0, 10.2, 9.8, 10.1), (1.0, 1.01, 0.99, 1.0)


def scaled(rounds, factor):
    return tuple(None if ms is None else ms * factor for ms in rounds)


def test_a_machine_half_as_fast_changes_nothing(latency_run):
    old = latency_run({"peer": PEER, "s": S}, threads=(1, 2))
    new = latency_run({"peer": scaled(PEER, 2), "s": scaled(S, 2)}, threads=(1, 2))
    changes = compare(old, new, 1.05)
    assert [(c.name, c.threads, c.verdict) for c in changes] == [
        ("s", 1, "same"),
        ("s", 2, "same"),
    ]
    assert all(change.found.ratio == pytest.approx(1) for change in changes)


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        (scaled(S, 1.2), "slower"),
        (scaled(S, 1.04), "same"),
        (scaled(S, 0.8), "faster"),
        ((0.5, 2.5, 0.6, 2.4), "slower?"),  # 1.16 times, but it may be chance
        ((), "not measured: it broke"),
        ((None, None, None, 2.0), "slower?"),  # one round has no interval
    ],
)
def test_verdicts(latency_run, rounds, verdict):
    old = latency_run({"peer": PEER, "s": S})
    new = latency_run({"peer": PEER, "s": rounds})
    (change,) = compare(old, new, 1.05)
    assert change.verdict == verdict
    assert change.is_regression == (verdict == "slower")


def with_cores(run, threads, worked):
    """The same run, in which that share of the cores worked at so many threads."""
    rows = tuple(
        row.model_copy(update={"cpu_over_wall": worked * row.threads})
        if row.threads == threads
        else row
        for row in run.rows
    )
    return run.model_copy(update={"rows": rows})


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0.5, 0.98, "not comparable: all cores worked in one of the runs only"),
        (0.97, 0.98, "slower"),
        (0.5, 0.52, "slower"),
    ],
)
def test_a_core_that_was_missing_is_no_regression(latency_run, before, after, verdict):
    old = with_cores(latency_run({"peer": PEER, "s": S}, threads=(1, 2)), 2, before)
    new = latency_run({"peer": PEER, "s": scaled(S, 1.5)}, threads=(1, 2))
    one, two = compare(old, with_cores(new, 2, after), 1.05)
    assert (one.verdict, two.verdict) == ("slower", verdict)
    assert (two.found is None) == (verdict != "slower")


def test_rows_of_one_run_alone_are_told(latency_run):
    old = latency_run({"peer": PEER, "s": S, "gone": S})
    new = latency_run({"peer": PEER, "s": S, "fresh": S})
    verdicts = {change.name: change.verdict for change in compare(old, new, 1.05)}
    assert verdicts == {
        "s": "same",
        "gone": "only in the first run",
        "fresh": "only in the second run",
    }


def test_the_reference_is_the_suites_or_a_common_peer_or_the_one_asked_for(latency_run):
    old = latency_run({"peer": PEER, "peer2": PEER, "s": S, "t": S})
    new = latency_run({"peer2": PEER, "s": scaled(S, 2), "t": scaled(S, 2)})
    assert compare(old, new, 1.05)[0].found.ratio == pytest.approx(2)  # peer2
    (change,) = compare(old, new, 1.05, reference="t")
    assert change.name == "s" and change.verdict == "same"


@pytest.mark.parametrize(
    ("old", "new", "words", "reason"),
    [
        ({"peer": PEER, "s": S}, {"peer": PEER, "t": S}, {}, "no build in common"),
        ({"peer": PEER, "s": S}, {"peer": (), "s": S}, {}, "--reference s for example"),
        ({"peer": PEER, "s": S}, {"peer": PEER, "s": S}, {"reference": "per"}, "mean 'peer'"),
        ({"peer": PEER, "s": S}, {"peer": PEER, "s": S}, {"threshold": 0.9}, "give one above 1"),
    ],
)
def test_what_cannot_be_compared(latency_run, old, new, words, reason):
    with pytest.raises(UserError, match=reason):
        compare(latency_run(old), latency_run(new), words.pop("threshold", 1.05), **words)


def test_no_common_number_of_threads(latency_run):
    times = {"peer": PEER, "s": S}
    with pytest.raises(UserError, match="no row and number of threads in common"):
        compare(latency_run(times, threads=(1,)), latency_run(times, threads=(2,)), 1.05)


def test_the_command_exits_with_1_past_the_threshold(latency_run, run, tmp_path):
    old = write_result(latency_run({"peer": PEER, "s": S}), tmp_path)
    new = write_result(latency_run({"peer": PEER, "s": scaled(S, 1.2)}, mode="quick"), tmp_path)
    out = tmp_path / "changes.json"
    code, printed, err = run("--compare", old, new, "--json", out)
    assert code == 1 and "slower by more than 1.05 times: s" in err
    assert "1.200" in printed and f"{new.name} is a quick run" in printed
    (change,) = json.loads(out.read_text())
    assert change["verdict"] == "slower" and change["ratio"] == pytest.approx(1.2)
    assert run("--compare", old, new, "--threshold", "1.3")[0] == 0
    assert run("--compare", old, old)[0] == 0
