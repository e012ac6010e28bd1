import pytest

from cpl_edge.benchmark.peers import check_peers
from cpl_edge.benchmark.suites import LatencySuite, latency_suites, load_latency_suite
from cpl_edge.errors import UserError
from cpl_edge.evaluate.suites import suite_names


def test_the_default_suite_is_what_mlperf_mobile_asks_for():
    suite = load_latency_suite("default")
    assert (suite.full.queries, suite.full.seconds) == (1024, 60)
    assert (suite.quick.queries, suite.quick.seconds) == (64, 5)
    assert suite.threads == (1, 2) and suite.reference in suite.peers
    megapixels = [width * height / 1e6 for width, height in suite.photos.pixels]
    assert megapixels == pytest.approx([1, 4, 12, 48], rel=0.01)
    assert suite.photos.routing in suite_names()


def test_suites_of_latency_and_of_quality_do_not_mix():
    assert latency_suites() and not set(latency_suites()) & set(suite_names())
    for name in latency_suites():
        assert isinstance(load_latency_suite(name), LatencySuite)


def test_the_peers_of_every_shipped_suite_exist():
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    for name in latency_suites():
        check_peers(load_latency_suite(name).peers)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("threads = [1, 1]", "threads must be different numbers"),
        ("threads = [0]", "threads must be different numbers"),
        ('entry_points = ["backward"]', "entry_points"),
        ("rounds = 3", "unknown key 'rounds'"),
    ],
)
def test_mistakes_are_told(tmp_path, line, reason):
    path = tmp_path / "mine.toml"
    rule = "{ queries = 1, seconds = 1, rounds = 1, warmup = 0 }"
    path.write_text(f'name = "a"\nabout = "b"\n{line}\nfull = {rule}\nquick = {rule}\n')
    with pytest.raises(UserError, match=reason):
        load_latency_suite(str(path))
