from cpl_edge.report.results import Results
from cpl_edge.report.sections.profiles import elsewhere, profiles


def test_every_profile_says_where_it_ran(found, rows_of):
    rows = rows_of(profiles(found), "Profiled files")
    assert [row["where"] for row in rows] == [
        "this machine",
        "imported: synthetic phone",
        "imported: not told",
    ]
    assert rows[0]["left outside"] == "1"
    assert rows[1]["left outside"] == "no accelerator"
    assert rows[2]["remark"] == "failed: synthetic: the file ends early"
    assert elsewhere(found) == "synthetic phone"


def test_operators_left_outside_have_reason_and_rewrite(found, rows_of):
    (row,) = rows_of(profiles(found), "Operators left outside")
    assert (row["operator"], row["why"], row["what would help"]) == (
        "GATHER_ND",
        "synthetic: XNNPACK has no gather",
        "pad outside the graph",
    )


def test_bars_and_table_by_module(found, rows_of, words_of):
    section = profiles(found)
    rows = rows_of(section, "s.tflite, fp32, litert 2.3.0: operators of forward")
    assert len(rows) == 7
    assert rows[1]["share"] == "20.9 %"
    assert "Longest: encoder.0.expand 21%" in words_of(section)


def test_without_profiles_the_command_is_told(words_of):
    words = words_of(profiles(Results()))
    assert "Not measured: no profile is committed" in words
    assert "python -m cpl_edge.profile s" in words
