import json
import sys
from pathlib import Path

import pytest

from cpl_edge.benchmark import latency, peers
from cpl_edge.benchmark.schema import LatencyRun, read_run

pytest.importorskip("onnxruntime")

SUITE = """
name = "tiny"
about = "toys"
threads = [1, 64]
entry_points = ["forward", "route"]
peers = ["ffdnet"]
reference = "ffdnet"
[full]
queries = 4
seconds = 30
rounds = 2
warmup = 0
[quick]
queries = 2
seconds = 30
rounds = 1
warmup = 0
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def fake_peer(toys, tmp_path, monkeypatch):
    """A toy in place of the exported peer, so that torch is not needed."""
    import onnx

    path = toys.write(tmp_path / "peer.onnx")
    model = onnx.load(path)
    facts = {"parameters": 10, "macs": 5000, "height": 16, "width": 12}
    model.metadata_props.add(key=peers.KEY, value=json.dumps(facts))
    onnx.save(model, path)
    asked = []
    monkeypatch.setattr(latency, "peer_file", lambda *words: asked.append(words) or path)
    return asked


def test_a_run_from_the_command_to_the_file(
    make_build, fake_peer, suite, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("cpl_edge.benchmark.roofline.PRODUCTS", latency.write_products.__globals__[
        "PRODUCTS"][:1])  # fmt: skip
    monkeypatch.setattr("cpl_edge.benchmark.subject.COPY_BYTES", 1 << 20)
    facts = {"digest": "0" * 64, "parameters": 6, "macs_256x256": 65536 * 100}
    make_build("good").with_suffix(".json").write_text(json.dumps(facts))
    make_build("missed", refused=["parity"])
    make_build("broken").write_bytes(b"nonsense")
    given = make_build("given", ".onnx")
    (given.parent / "card.json").unlink()  # not a build, so it has to be given
    results = tmp_path / "results"
    words = ["--suite", suite, "--builds", tmp_path / "build", "--results", results, given]
    code, out, err = run(*words)
    assert code == 0, err
    (path,) = results.iterdir()
    assert f"written to {path}" in out and "64 threads" in out
    assert "not measured: missed: it missed its gates: parity" in out
    measured = read_run(path, LatencyRun)
    assert (measured.suite, measured.mode, measured.reference) == ("tiny", "full", "ffdnet")
    rows = {row.key: row for row in measured.rows}
    assert set(rows) == {
        ("good", "forward", 1),
        ("good", "route", 1),
        ("missed", "forward", 1),
        ("broken", "forward", 1),
        ("model.onnx", "forward", 1),
        ("model.onnx", "route", 1),
        ("ffdnet", "forward", 1),
    }
    good = rows["good", "forward", 1]
    assert good.queries == 4 and good.complete and len(good.rounds_ms) == 2
    assert good.p50_ms <= good.p90_ms <= good.p99_ms
    assert (good.parameters, good.macs) == (6, 100 * 16 * 12)
    assert good.peak_mb > good.baseline_mb and good.file_bytes > 0
    assert good.gops == pytest.approx(2 * good.macs / good.p50_ms / 1e6, rel=0.02)
    (roof,) = measured.roofline
    assert roof.fp32_gflops > 0 and roof.int8_gops is None and roof.copy_gb_s > 0
    assert good.share_of_peak == pytest.approx(good.gops / roof.fp32_gflops, abs=2e-3)
    assert rows["good", "route", 1].macs is None
    assert "damaged or no TFLite" in rows["broken", "forward", 1].refused
    peer = rows["ffdnet", "forward", 1]
    assert (peer.kind, peer.parameters, peer.macs, peer.student) == ("peer", 10, 5000, None)
    assert {(r.a, r.b, r.rounds) for r in measured.ratios} == {
        ("ffdnet", "good", 2),
        ("ffdnet", "model.onnx", 2),
    }
    assert fake_peer == [("ffdnet", (256, 256), tmp_path / "build" / "peers")]


def test_a_quick_run_of_one_file_is_marked(make_build, suite, run, tmp_path):
    suite.write_text(SUITE + "\n")
    path = make_build("a")
    words = ["--suite", suite, "--quick", "--only-files", "--no-peers", "--results", tmp_path / "r"]
    text = suite.read_text().replace('about = "toys"', 'about = "toys"\nroofline = false')
    suite.write_text(text)
    code, out, err = run(
        *words, "--threads", 1, "--minutes", 5, path, "--json", tmp_path / "copy.json"
    )
    assert code == 0, err
    assert "too short to be quoted" in out
    values = json.loads((tmp_path / "copy.json").read_text())
    assert values["limit_minutes"] == 5
    assert values["mode"] == "quick" and values["roofline"] == [] and values["ratios"] == []
    assert [(row["name"], row["queries"]) for row in values["rows"]] == [
        ("model.tflite", 2),
        ("model.tflite", 2),
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "choose one of --suite default, --photo, --photo-suite and --compare"),
        (["--suite", "default", "--photo", "8x8"], "choose one of"),
        (["--suite", "defualt"], "no suite 'defualt': did you mean 'default'?"),
        (["--suite", "x.toml"], "x.toml does not exist"),
        (["--suite", "default", "--builds", "empty"], "empty holds no builds: make some with"),
        (["--suite", "default", "--only-files"], "holds no builds"),
        (["--suite", "default", "gone.tflite"], "gone.tflite does not exist"),
        (["--suite", "default", "bad.tflite"], "bad.tflite is damaged or no TFLite model"),
        (["--suite", "default", "ss"], "no file 'ss.tflite'"),
        (["--suite", "default", "--minutes", "0"], "--minutes"),
        (["--photo", "8x8", "a.tflite"], "FILES are measured by --suite"),
        (["--compare", "gone.json", "gone.json"], "gone.json cannot be read"),
    ],
)
def test_mistakes_are_told_in_one_line(run, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    Path("bad.tflite").write_bytes(b"nonsense")
    code, _, err = run(*words)
    assert code == 2 and reason in err and err.count("\n") == 1


def test_results_that_cannot_be_written_are_told_before_the_run(make_build, suite, run, tmp_path):
    path = make_build("a")
    (tmp_path / "file").touch()
    words = ["--suite", suite, "--only-files", "--results", tmp_path / "file", path]
    code, _, err = run(*words)
    assert code == 2 and "give another --results" in err
    assert not (tmp_path / "build" / "peers").exists()


def test_a_wrong_peer_is_told_before_anything_is_exported(make_build, suite, run, tmp_path):
    pytest.importorskip("torch")
    suite.write_text(SUITE.replace('peers = ["ffdnet"]', 'peers = ["fdnet"]'))
    words = ["--suite", suite, "--only-files", "--results", tmp_path / "r", make_build("a")]
    code, _, err = run(*words)
    assert code == 2 and "no peer 'fdnet': did you mean 'ffdnet'?" in err


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_core_ml_is_not_timed_off_a_mac(make_build, tmp_path):
    from cpl_edge.benchmark.builds import find_builds

    folder = make_build("c").parent
    (folder / "model.mlpackage").mkdir()
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"model": "model.mlpackage"}))
    (build,) = find_builds(tmp_path / "build", [])
    assert "macOS only" in build.refused


def test_a_damaged_card_refuses_its_build_and_no_other(make_build, tmp_path):
    from cpl_edge.benchmark.builds import find_builds

    make_build("a")
    (make_build("b").parent / "card.json").write_text("{")
    a, b = find_builds(tmp_path / "build", [])
    assert a.refused is None and b.name == "b" and "card is damaged" in b.refused
