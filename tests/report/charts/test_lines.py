from xml.etree import ElementTree

from cpl_edge.report.charts.lines import lines


def test_a_line_for_each_name_and_a_dot_for_each_measurement():
    svg = lines({"a": [(1, 2), (3, 4)], "b <": [(1, 1), (2, 3), (3, 5)]}, "x", "y")
    tree = ElementTree.fromstring(svg)
    tags = [e.tag.split("}")[-1] for e in tree.iter()]
    assert tags.count("polyline") == 2
    assert tags.count("circle") == 5
    assert "b <" in "".join(tree.itertext())


def test_both_axes_may_be_logarithmic():
    svg = lines({"a": [(1, 0.3), (48, 17)]}, "megapixels", "s", log=True)
    shown = "".join(ElementTree.fromstring(svg).itertext())
    assert "0.2" in shown
    assert "100" in shown
