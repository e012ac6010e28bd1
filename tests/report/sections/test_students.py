from cpl_edge.report.results import Results
from cpl_edge.report.sections.students import students


def test_a_card_is_shown_with_its_limits_and_training(found, rows_of, words_of):
    section = students(found)
    (row,) = rows_of(section, "Students that ship")
    assert (row["student"], row["parameters"], row["GMAC at 256x256"]) == ("s", "280,520", "2.05")
    assert row["hours"] == "1.31"
    words = words_of(section)
    assert "synthetic: this card belongs to no weights" in words
    assert "At the end: noise +11.10 dB" in words


def test_without_weights_it_says_so(words_of):
    assert "no weights ship" in words_of(students(Results()))
