from cpl_edge.report.results import Results
from cpl_edge.report.sections.latency import chosen_run, latency, latency_of


def test_the_newest_full_run_is_shown_before_any_quick_one(found):
    assert chosen_run(found).started.startswith("2026-01-02")
    found.latency = found.latency[-1:]
    assert chosen_run(found).mode == "quick"


def test_rows_hold_builds_and_peers(found, rows_of):
    rows = rows_of(latency(found), "Latency of builds and peers")
    assert len(rows) == 9
    (int8,) = [r for r in rows if r["what"] == "s-litert-w8a8-auto" and r["threads"] == "1"]
    assert (int8["p50, ms"], int8["file, MB"], int8["GMAC"]) == ("5.80", "0.49", "2.05")
    assert int8["share of peak"] == "64 %"


def test_what_was_refused_says_why_and_has_no_figures(found, rows_of):
    (row,) = [
        row
        for row in rows_of(latency(found), "Latency of builds and peers")
        if row["what"] == "promptir"
    ]
    assert row["remark"] == "refused: synthetic: more memory than there is"
    assert row["p50, ms"] == row["queries"] == row["share of peak"] == "not measured"


def test_a_quick_run_is_marked_everywhere(found, rows_of, words_of):
    found.latency = found.latency[-1:]
    section = latency(found)
    words = words_of(section)
    assert words.count("QUICK RUN") == 2
    assert "Quick run. " in words
    assert rows_of(section, "Latency of builds and peers (quick run)")
    table = next(b for b in section.blocks if getattr(b, "title", "").startswith("Latency of"))
    assert table.rows[1][6].mark == "note"


def test_ratios_have_their_interval(found, rows_of):
    (row,) = rows_of(latency(found), "How many times faster")
    assert (row["slower"], row["times faster"], row["95 % interval"]) == (
        "ffdnet",
        "10.34",
        "10.00 to 10.69",
    )


def test_roofline_tells_shares_and_goals(found, words_of):
    words = words_of(latency(found))
    assert "75% in fp32 and 60% in int8" in words
    assert "s-litert-w8a8-auto, litert, 1 thread 64%" in words


def test_latency_of_a_build_comes_from_the_run_else_from_its_card(found):
    digest = "b" * 64
    assert latency_of("s-litert-w8a8-auto", digest, found) == (5.8, "latency run")
    assert latency_of("s-litert-w8-auto", digest, found) == (6.0, "gates")
    assert latency_of("s-litert-w8a8-auto", "a" * 64, found) is None


def test_without_a_run_the_command_is_told(words_of):
    words = words_of(latency(Results()))
    assert "Not measured: no latency run is committed" in words
    assert "python -m cpl_edge.benchmark --suite default" in words
