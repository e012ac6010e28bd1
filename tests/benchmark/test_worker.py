import io
import json
import os
import signal

import numpy as np
import pytest

from cpl_edge.benchmark.process import Refused, Worker
from cpl_edge.benchmark.subject import COPY, Subject, open_raw
from cpl_edge.benchmark.worker import serve, time_queries
from cpl_edge.errors import UserError


def talk(subject, *commands):
    """Serve in this process; the answers."""
    answers = io.StringIO()
    serve(subject, io.StringIO("".join(json.dumps(c) + "\n" for c in commands)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_time_queries_stops_at_either_limit_but_calls_once():
    calls = []
    times, _ = time_queries(lambda: calls.append(1), 7, 60)
    assert len(times) == len(calls) == 7 and min(times) >= 0
    assert len(time_queries(lambda: None, 100, 0)[0]) == 1
    assert len(time_queries(lambda: None, 0, 60)[0]) == 1


def test_processor_time_is_told():
    _, cpu = time_queries(lambda: sum(range(200_000)), 5, 60)
    assert cpu > 0


@pytest.mark.parametrize(
    ("entries", "changes", "served"),
    [
        (("forward", "route"), {}, ["forward", "route"]),
        (("forward",), {"routing": "split", "entry_points": ("route", "restore")}, ["restore"]),
    ],
)
def test_the_entry_points_that_are_asked_for_are_served(make_build, entries, changes, served):
    path = make_build("a", **changes)
    command = {"entry": served[-1], "queries": 3, "seconds": 60}
    hello, timed, memory = talk(Subject("a", False, path, 1, entries), command, {})
    assert list(hello["first_ms"]) == served and hello["load_ms"] > 0
    assert hello["info"]["student"] == "toy" and hello["metadata"] == {}
    assert len(timed["times_ms"]) == 3
    assert memory["peak_mb"] >= hello["baseline_mb"] > 10


def test_a_file_that_cannot_be_opened_says_why_in_one_line(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"nonsense")
    (answer,) = talk(Subject("bad", False, tmp_path / "bad.tflite", 1))
    assert "damaged or no TFLite model" in answer["refused"] and "\n" not in answer["refused"]


def test_raw_files_run_on_inputs_of_their_own(make_build):
    for suffix in (".tflite", ".onnx"):
        query, metadata = open_raw(make_build(suffix[1:], suffix), 1)
        query()
        assert ("cpl_edge" in metadata) == (suffix == ".onnx")
    with pytest.raises(UserError, match=r"is no \.onnx or \.tflite file"):
        open_raw(make_build("c").with_suffix(".bin"), 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_copying_copies(monkeypatch, threads):
    monkeypatch.setattr("cpl_edge.benchmark.subject.COPY_BYTES", 1 << 12)
    made = []
    monkeypatch.setattr(np, "zeros_like", lambda a: made.append(np.empty_like(a)) or made[-1])
    query, _ = open_raw(COPY, threads)
    made[0][...] = 7
    query()
    assert made[0].size == 2048 and (made[0] == 1).all()


def test_a_process_answers_and_its_death_is_told(make_build):
    worker = Worker(Subject("a", False, make_build("a"), 1))
    try:
        assert worker.hello["info"]["target"] == "litert"
        times, cpu = worker.run("forward", 4, 60)
        assert len(times) == 4 and cpu >= 0
        assert 20 < worker.peak_mb() < 2000  # its own, not that of this process
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(Refused, match="signal 9"):
            worker.run("forward", 1, 1)
    finally:
        worker.close()
    assert worker._process.returncode == -9


def test_a_process_that_refuses_its_file_is_gone(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(Refused, match="damaged or no ONNX model"):
        Worker(Subject("bad", False, tmp_path / "bad.onnx", 1))
