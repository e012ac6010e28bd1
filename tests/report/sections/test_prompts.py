from cpl_edge.report.results import Results
from cpl_edge.report.sections.prompts import prompts


def test_forced_prompts_mark_the_own_and_the_best(found, rows_of):
    noise, rain = rows_of(prompts(found), "bundled: PSNR of s.safetensors with forced prompts")
    assert (noise["as noise"], noise["as rain"]) == ("[30.70]", "27.00")
    assert (rain["as rain"], rain["own minus best other"]) == ("[28.50]", "-0.50")


def test_selections_of_an_evaluation(found, rows_of):
    found.evaluations = [e for e in found.evaluations if e.file == "s-bundled.json"]
    rows = rows_of(prompts(found), "bundled: what s-litert-fp32-auto selected (images)")
    assert rows[1] == {"degraded by": "synthetic rain", "noise": "0", "rain": "2"}


def test_separation_is_told(found, words_of):
    assert "Separation 0.45" in words_of(prompts(found))


def test_nothing_measured_is_said(words_of):
    words = words_of(prompts(Results()))
    assert "Forced prompts and separation: not measured." in words
    assert "Selections: not measured" in words
    assert "--prompts" in words
