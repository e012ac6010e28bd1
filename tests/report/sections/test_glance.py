from cpl_edge.report.document import Figures
from cpl_edge.report.results import Results
from cpl_edge.report.sections.glance import glance


def figures(section):
    (block,) = [b for b in section.blocks if isinstance(b, Figures)]
    return {name: (value, remark) for name, value, remark in block.items}


def test_the_first_figures(found):
    shown = figures(glance(found))
    assert shown["student s"][0] == "280,520 parameters"
    assert shown["bundled, noise 25"][0] == "+10.20 dB"
    assert shown["worst image of all"][0] == "-0.40 dB"
    assert shown["fastest build for all degradations"] == (
        "5.8 ms",
        "s-litert-w8a8-auto, 256x256, one thread, from the latency run",
    )
    assert shown["photo of 12 megapixels"][0] == "4.2 s"
    assert shown["builds"] == ("3 passed, 1 refused", "refused: 1 of w8")


def test_what_ran_on_no_phone_says_so(found, words_of):
    assert "imported from synthetic phone" in words_of(glance(found))
    found.profiles = []
    assert "Nothing here ran on a phone" in words_of(glance(found))


def test_nothing_measured_is_said_with_its_command():
    shown = figures(glance(Results()))
    assert shown["quality"][0] == shown["fastest build"][0] == "not measured"
    assert shown["photo of 12 megapixels"][0] == "not measured"
