from cpl_edge.report.results import Results
from cpl_edge.report.sections.builds import builds, newest


def test_passed_builds_stand_before_refused_ones(found, rows_of):
    rows = rows_of(builds(found), "Builds")
    assert [row["verdict"] for row in rows] == ["passed", "passed", "passed", "refused"]
    fp32, int8, coreml, _ = rows
    assert fp32["build"] == "s-litert-fp32-auto"
    assert (fp32["parity, max abs"], fp32["parity, dB"]) == ("6.0e-06", "max abs")
    assert (int8["parity, max abs"], int8["parity, dB"]) == ("in dB", "41.0")
    assert int8["forward, ms"] == "5.80"
    assert coreml["forward, ms"] == "not measured"
    assert coreml["ran on"] == "not executed: Core ML runs on macOS only"


def test_a_refusal_tells_gate_figure_limit_and_why(found, rows_of):
    rows = rows_of(builds(found), "Refused builds")
    assert [(row["gate"], row["figure"], row["limit"]) for row in rows] == [
        ("parity", "33", "38"),
        ("drop_mean", "0.5", "0.3"),
    ]
    assert rows[1]["why"] == "synthetic: noise crops lose most"


def test_a_gate_that_could_not_run_says_so(found, rows_of):
    (routing,) = [
        row
        for row in rows_of(builds(found), "Gates of s-coreml-fp16-auto")
        if row["gate"] == "routing"
    ]
    assert routing["figure"] == "not measured"
    assert routing[""] == "not run"


def test_the_newest_card_of_a_build_counts(found):
    old = found.builds[0]
    later = old.value.model_copy(update={"date": "2026-02-01T00:00:00+00:00", "bytes": 7})
    found.builds.insert(0, type(old)("later.json", later))
    assert [card.bytes for card in newest(found) if card.name == old.value.name] == [7]


def test_without_builds_the_command_is_told(words_of):
    words = words_of(builds(Results()))
    assert "Not measured" in words
    assert "python -m cpl_edge.export --target all" in words
