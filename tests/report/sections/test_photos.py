from cpl_edge.report.results import Results
from cpl_edge.report.sections.photos import photos


def test_growth_is_told_in_words_and_rows(found, rows_of, words_of):
    section = photos(found)
    rows = rows_of(section, "Restoring a whole photo")
    assert [row["megapixels"] for row in rows] == ["1.0", "4.0", "12.0", "48.0", "12.0"]
    assert rows[3]["s a megapixel"] == "0.350"
    assert rows[4]["working, MB"] == "not measured"  # of a photo measured alone
    words = words_of(section)
    assert "power of 1.00; 1 is linear" in words
    assert "Growth from 1 to 48 megapixels: not measured" not in words


def test_routing_by_tile_is_compared(found, rows_of):
    (row,) = rows_of(photos(found), "Routing once per photo")
    assert (row["photo selects"], row["tiles that disagree"]) == ("rain", "33.3 %")
    assert (row["PSNR once per photo"], row["PSNR tile by tile"]) == ("31.00", "30.10")


def test_one_size_alone_leaves_growth_unmeasured(found, words_of):
    found.photos = []
    assert "Growth from 1 to 48 megapixels: not measured" in words_of(photos(found))


def test_without_photos_the_command_is_told(words_of):
    words = words_of(photos(Results()))
    assert "Not measured" in words
    assert "python -m cpl_edge.benchmark --photo-suite" in words
