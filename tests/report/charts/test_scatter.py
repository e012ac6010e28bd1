from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from cpl_edge.report.charts.scatter import Point, front, scatter


def point(x, y, name="n"):
    return Point(x, y, name, "litert", "fp32", name)


points = st.lists(
    st.builds(point, st.floats(0.1, 1e4), st.floats(-50, 50)), min_size=1, max_size=12
)


@given(points)
def test_nothing_beats_the_front_and_it_beats_the_rest(many):
    best = front(many)
    for p in many:
        beaten = any(q.x <= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in many)
        assert beaten == ((p.x, p.y) not in {(q.x, q.y) for q in best})


@given(points)
def test_every_point_is_drawn(many):
    tree = ElementTree.fromstring(scatter(many, "ms", "dB"))
    marks = [e for e in tree.iter() if "mark" in e.attrib.get("class", "").split()]
    assert len(marks) == len(many)


def test_names_on_the_front_do_not_cover_each_other():
    near = [point(10, 1, "a-long-name-of-a-build"), point(10.1, 1.001, "another-long-name")]
    tree = ElementTree.fromstring(scatter(near, "ms", "dB"))
    named = [e for e in tree.iter() if e.text in {p.name for p in near} and "y" in e.attrib]
    assert len(named) == 2
    assert abs(float(named[0].attrib["y"]) - float(named[1].attrib["y"])) >= 14


def test_a_point_that_does_not_count_is_drawn_hollow_and_beats_nothing():
    best, refused = point(10, 1, "best"), Point(1, 9, "refused", "litert", "w8", "", counts=False)
    assert front([best, refused]) == [best]
    assert scatter([best, refused], "ms", "dB").count("hollow") == 1
