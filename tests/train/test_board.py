import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cpl_edge.errors import CplEdgeError, MissingExtra
from cpl_edge.train.board import Board, scalars, writing

ROW = {
    "step": 4,
    "seconds": 1.5,
    "lr": 0.25,
    "loss": 0.5,
    "routing": 1.5,
    "validation": {
        "noise": {"before": 20.0, "after": 26.5, "routed": 0.75},
        "haze": {"before": 15.0, "after": 14.0, "selected": [[1, 0], [0, 1], [1, 0]]},
    },
}
ROOM_FOR_A_ROW = len(json.dumps(ROW)) + 1
PICTURE = Image.linear_gradient("L").convert("RGB")


def read_events(folder):
    """What TensorBoard shows of a run folder."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = module.EventAccumulator(str(folder), {"images": 0, "scalars": 0})
    return accumulator.Reload()


def curve(folder, tag):
    return [(event.step, event.value) for event in read_events(folder).Scalars(tag)]


def needs_tensorboard(function):
    return pytest.mark.skipif(
        not _installed(), reason="event files are TensorBoard's: cpl-edge[board]"
    )(function)


def _installed():
    try:
        Board(Path("nowhere"), tensorboard=True)
    except MissingExtra:
        return False
    return True


# JSON lines and pictures


def test_rows_are_json_lines(tmp_path):
    board = Board(tmp_path)
    board.start(0)
    board.add_row(ROW)
    board.add_row({**ROW, "step": 8})
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [ROW, {**ROW, "step": 8}]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_pictures_are_named_after_their_step(tmp_path):
    board = Board(tmp_path)
    board.add_picture(20, PICTURE)
    board.add_picture(1_234_567, PICTURE)
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert paths == ["images/step-000020.jpg", "images/step-1234567.jpg"]
    with Image.open(tmp_path / paths[0]) as read:
        assert (read.size, read.format) == (PICTURE.size, "JPEG")
        assert abs(read.getpixel((9, 200))[0] - 200) < 9


def test_going_on_forgets_what_is_later(tmp_path):
    board = Board(tmp_path)
    for step in (4, 8, 12):
        board.add_row({**ROW, "step": step})
        board.add_picture(step, PICTURE)
    stranger = tmp_path / "images" / "step-by-step.jpg"
    stranger.write_bytes(b"mine")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')  # killed while it wrote
    Board(tmp_path).start(8)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8]
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {"step-000004.jpg", "step-000008.jpg", "step-by-step.jpg"}
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "images"}


def test_a_log_that_cannot_be_cut_is_not_lost(tmp_path, monkeypatch):
    board = Board(tmp_path)
    for step in (4, 8):
        board.add_row({**ROW, "step": step})
    before = (tmp_path / "log.jsonl").read_text()

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(CplEdgeError, match=r"log\.jsonl \(No space left on device\): make room"):
        board.start(4)
    assert (tmp_path / "log.jsonl").read_text() == before


# TensorBoard


def test_curves_of_a_row():
    assert scalars(ROW) == {
        "train/lr": 0.25,
        "train/loss": 0.5,
        "train/routing": 1.5,
        "psnr/noise": 26.5,
        "gain/noise": 6.5,
        "routed/noise": 0.75,
        "psnr/haze": 14.0,
        "gain/haze": -1.0,
    }
    assert scalars({"step": 1, "seconds": 2.0, "loss": 3.0}) == {"train/loss": 3.0}


@needs_tensorboard
def test_tensorboard_reads_the_rows_and_pictures(tmp_path):
    board = Board(tmp_path, tensorboard=True)
    board.start(0)
    board.add_row(ROW)
    board.add_row({**ROW, "step": 8, "loss": 0.125})
    board.add_picture(8, PICTURE)
    events = read_events(tmp_path)
    assert set(events.Tags()["scalars"]) == set(scalars(ROW))
    assert curve(tmp_path, "train/loss") == [(4, 0.5), (8, 0.125)]
    assert curve(tmp_path, "gain/haze") == [(4, -1.0), (8, -1.0)]
    (shown,) = events.Images("restorations")
    assert (shown.step, shown.width, shown.height) == (8, *PICTURE.size)
    assert shown.encoded_image_string == (tmp_path / "images" / "step-000008.jpg").read_bytes()
    with Image.open(io.BytesIO(shown.encoded_image_string)) as read:
        assert read.size == PICTURE.size


@needs_tensorboard
@pytest.mark.parametrize(("step", "kept"), [(8, [4, 8]), (5, [4]), (0, [])])
def test_a_resumed_run_voids_later_events(tmp_path, step, kept):
    killed = Board(tmp_path, tensorboard=True)
    killed.start(0)
    for later in (4, 8, 12):
        killed.add_row({**ROW, "step": later, "loss": 9.0})
        killed.add_picture(later, PICTURE)
    resumed = Board(tmp_path, tensorboard=True)
    resumed.start(step)
    events = read_events(tmp_path)  # before anything new is known
    assert [event.step for event in events.Scalars("train/loss")] == kept
    assert [event.step for event in events.Images("restorations")] == kept
    resumed.add_row({**ROW, "step": 12, "loss": 2.0})
    assert curve(tmp_path, "train/loss") == [*((step, 9.0) for step in kept), (12, 2.0)]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


def test_without_tensorboard_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("tensorboard.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=r"'tensorboard': pip install 'cpl-edge\[board\]'"):
        Board(tmp_path, tensorboard=True)
    Board(tmp_path).start(0)  # nothing else needs it


# What can go wrong


def test_a_folder_that_refuses_is_told_in_one_line(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    (tmp_path / "images").touch()
    board = Board(tmp_path)
    for write, name in (
        (lambda: board.add_row(ROW), "log.jsonl"),
        (lambda: board.add_picture(1, PICTURE), "images/step-000001.jpg"),
    ):
        with pytest.raises(CplEdgeError) as caught:
            write()
        message = str(caught.value)
        assert message.startswith(f"cannot write {tmp_path / name} (")
        assert message.endswith("run the same command to go on from the last checkpoint")
        assert "\n" not in message
        assert caught.value.exit_code == 1


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError), writing(Path("file")):
        1 / 0  # noqa: B018


FULL = """
import sys
from pathlib import Path
from test_board import PICTURE, ROW, limit_files
from cpl_edge.errors import CplEdgeError
from cpl_edge.train.board import Board
board = Board(Path(sys.argv[1]), tensorboard=sys.argv[2] == "events")
board.start(0)
limit_files(int(sys.argv[3]))
try:
    board.add_row(ROW)
    board.add_picture(4, PICTURE)
except CplEdgeError as error:
    print(error)
"""


def limit_files(size):
    """Let no file of this process grow beyond so many bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@needs_tensorboard
@pytest.mark.parametrize(
    ("kind", "size", "file"),
    [
        ("plain", 100, "log.jsonl"),
        ("plain", ROOM_FOR_A_ROW, "images/step"),
        ("events", ROOM_FOR_A_ROW, "events.out"),
    ],
)
def test_a_full_disk_is_one_line_and_no_traceback(tmp_path, kind, size, file):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), kind, str(size)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith(f"cannot write {tmp_path / file}")
    assert "(File too large): make room" in done.stdout
