from cpl_edge.report.results import Results
from cpl_edge.report.sections.history import history, regressions


def test_quality_that_fell_is_a_regression(found, rows_of):
    rows = rows_of(history(found), "Quality, measured again")
    noise = [row for row in rows if row["degraded by"] == "noise 25"]
    assert [(row["PSNR"], row["change"], row["verdict"]) for row in noise] == [
        ("30.90", "first", "first"),
        ("30.70", "-0.20", "REGRESSION"),
    ]


def test_latency_is_judged_against_a_peer_of_the_same_run(found, rows_of):
    rows = rows_of(history(found), "Latency, measured again")
    verdicts = {(row["build"], row["threads"]): row["verdict"] for row in rows}
    assert verdicts["s-litert-w8a8-auto", "1"] == "REGRESSION: slower"
    assert verdicts["s-litert-fp32-auto", "1"] == "same"
    assert not any("quick" in row["after"] for row in rows)


def test_quick_runs_are_compared_but_not_judged(found, rows_of):
    quick = found.latency[-1]
    slower = quick.value.model_copy(
        update={
            "started": "2026-01-04T10:00:00+00:00",
            "rows": tuple(
                row.model_copy(update={"rounds_ms": tuple(2 * ms for ms in row.rounds_ms if ms)})
                if row.kind == "student"
                else row
                for row in quick.value.rows
            ),
        }
    )
    found.latency = [quick, type(quick)("quick-2.json", slower)]
    rows = rows_of(history(found), "Latency, measured again")
    assert {row["verdict"] for row in rows} == {"slower (quick runs, not judged)"}
    assert not [line for line in regressions(found) if "quick-2" in line]


def test_runs_of_two_machines_are_not_compared(found, words_of):
    first, second, _ = found.latency
    other = second.value.model_copy(update={"machine": {"processor": "another"}})
    found.latency = [first, type(second)(second.file, other)]
    assert "Latency: no two runs of one machine" in words_of(history(found))


def test_runs_without_a_common_row_say_so(found, words_of):
    first, second, _ = found.latency
    alone = second.value.model_copy(update={"rows": second.value.rows[1:2], "reference": None})
    found.latency = [first, type(second)(second.file, alone)]
    assert "cannot be compared: the two runs have no peer in common" in words_of(history(found))


def test_regressions_are_one_line_each(found):
    lines = regressions(found)
    assert (
        "s-litert-fp32-auto, bundled, noise 25, routing auto: -0.20 dB in s-bundled.json" in lines
    )
    assert len([line for line in lines if line.startswith("s-litert-w8a8-auto, threads")]) == 2
    assert regressions(Results()) == []
