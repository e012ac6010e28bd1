from cpl_edge.report.results import Results
from cpl_edge.report.sections.quality import command, newest, quality


def test_the_newest_evaluation_is_shown_and_a_quick_one_is_marked(found, rows_of):
    rows = rows_of(quality(found), "bundled: synthetic figures")
    assert list(dict.fromkeys(row["build"] for row in rows)) == [
        "s-litert-fp32-auto",
        "s-litert-fp32-auto, quick: first 1",
        "s-litert-w8a8-auto",
    ]
    assert rows[0]["after"] == "30.70"  # not the 30.90 of older weights
    assert rows[0]["SSIM after"] == "0.850"
    assert rows[0]["its gain"] == "-0.40"


def test_the_drop_is_against_fp32_of_the_same_weights(found, rows_of):
    rows = rows_of(quality(found), "bundled: synthetic figures")
    drops = {row["build"]: row["drop from fp32"] for row in rows}
    assert drops["s-litert-w8a8-auto"] == "+0.120"
    assert drops["s-litert-fp32-auto"] == "is fp32"
    found.evaluations = [e for e in found.evaluations if e.value.model.precision != "fp32"]
    rows = rows_of(quality(found), "bundled: synthetic figures")
    assert {row["drop from fp32"] for row in rows} == {"not measured"}


def test_an_image_with_nothing_wrong_has_nothing_to_gain(found, rows_of):
    row = rows_of(quality(found), "bundled: synthetic figures")[2]
    assert (row["before"], row["gain"], row["right selection"]) == (
        "nothing wrong",
        "none to gain",
        "not judged",
    )


def test_published_figures_stand_beside_ours(found, rows_of):
    rows = rows_of(quality(found), "bundled: beside published")
    assert [row["method"] for row in rows] == [
        "s-litert-fp32-auto",
        "s-litert-w8a8-auto",
        "A paper <b>",
    ]
    assert rows[-1]["noise 25"] == "31.50"
    assert rows[-1]["synthetic rain"] == "not published"
    assert (rows[0]["average"], rows[-1]["average"]) == ("33.50", "30.90")


def test_commands_repeat_each_evaluation(found):
    lines = [command(e) for e in newest(found)]
    assert "python -m cpl_edge.evaluate --suite bundled --model s" in lines
    assert "python -m cpl_edge.evaluate --suite bundled --model s --limit 1" in lines
    assert "python -m cpl_edge.evaluate --suite bundled --model build/s-litert-w8a8-auto" in lines


def test_suites_without_results_are_named_with_their_command(words_of):
    words = words_of(quality(Results()))
    assert "Suites that were not measured: " in words
    assert "--suite cbsd68 --model s --data FOLDER --json" in words


def test_lpips_has_columns_where_it_was_measured(found, rows_of):
    assert "LPIPS after" not in rows_of(quality(found), "bundled: synthetic figures")[0]
    item = next(i for i in found.evaluations if i.value.model.precision == "w8a8")
    summary = [
        s.model_copy(update={"lpips_before": 0.4, "lpips_after": 0.123}) for s in item.value.summary
    ]
    changed = item.value.model_copy(update={"summary": summary})
    found.evaluations.remove(item)
    found.evaluations.append(type(item)("lpips.json", changed))
    rows = rows_of(quality(found), "bundled: synthetic figures")
    by_build = {row["build"]: (row["LPIPS before"], row["LPIPS after"]) for row in rows}
    assert by_build["s-litert-w8a8-auto"] == ("0.400", "0.123")
    assert by_build["s-litert-fp32-auto"] == ("not measured", "not measured")
