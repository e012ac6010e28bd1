from cpl_edge.report.document import Crop, Crops
from cpl_edge.report.sections.pictures import pictures


def test_crops_or_the_reason_why_not(words_of):
    crop = Crop("crop-x", "noise", "better", "data:a", "data:b", "data:c", 8)
    assert Crops((crop,)) in pictures((crop,), "").blocks
    assert "Not made: torch is missing." in words_of(pictures((), "torch is missing"))
