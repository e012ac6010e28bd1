from pathlib import Path

import pytest

from cpl_edge.errors import UserError
from cpl_edge.restore.files import plan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """photos/: a.jpg, b.PNG, notes.txt, deep/c.tif, deep/a.jpg; the working folder is above it."""
    for name in ("a.jpg", "b.PNG", "notes.txt", "deep/c.tif", "deep/a.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(made):
    return {job.source.as_posix(): job.target.as_posix() for job in made.jobs}


def test_one_photo_goes_beside_itself(folder):
    made = plan(["photos/a.jpg"])
    assert jobs(made) == {"photos/a.jpg": "photos/a_restored.png"}
    assert not made.many and not made.skipped and not made.failed


@pytest.mark.parametrize("output", ["new.png", "photos/deep/new.JPG"])
def test_one_photo_goes_where_it_is_told(folder, output):
    assert jobs(plan(["photos/a.jpg"], Path(output))) == {"photos/a.jpg": output}


@pytest.mark.parametrize("output", ["photos/deep", "new", "new/deeper"])
def test_one_photo_goes_into_a_folder(folder, output):
    assert jobs(plan(["photos/b.PNG"], Path(output))) == {"photos/b.PNG": f"{output}/b.png"}


def test_a_folder_gives_its_photos_and_says_what_it_skips(folder):
    made = plan(["photos"])
    assert jobs(made) == {
        "photos/a.jpg": "photos/a_restored.png",
        "photos/b.PNG": "photos/b_restored.png",
    }
    assert made.many
    ((path, reason),) = [(left.path.name, left.reason) for left in made.skipped]
    assert path == "notes.txt" and "not a JPEG" in reason


def test_recursive_keeps_the_structure(folder):
    assert jobs(plan(["photos"], Path("out"), recursive=True)) == {
        "photos/a.jpg": "out/a.png",
        "photos/b.PNG": "out/b.png",
        "photos/deep/a.jpg": "out/deep/a.png",
        "photos/deep/c.tif": "out/deep/c.png",
    }


@pytest.mark.parametrize(
    ("pattern", "sources"),
    [
        ("photos/*.jpg", ["photos/a.jpg"]),
        ("photos/[ab].*", ["photos/a.jpg", "photos/b.PNG"]),
        ("photos/**/a.jp?", ["photos/a.jpg", "photos/deep/a.jpg"]),
    ],
)
def test_patterns(folder, pattern, sources):
    made = plan([pattern])
    assert list(jobs(made)) == sources
    assert made.many
    absolute = plan([str(folder / pattern)])
    assert [job.source for job in absolute.jobs] == [folder / source for source in sources]


def test_a_file_with_a_patterns_name_is_a_file(folder):
    (folder / "photos" / "a[1].jpg").touch()
    assert list(jobs(plan(["photos/a[1].jpg"]))) == ["photos/a[1].jpg"]


def test_a_photo_that_is_named_twice_is_restored_once(folder):
    made = plan(["photos", "photos/a.jpg", "photos/../photos/b.PNG", "photos/*.jpg"])
    assert list(jobs(made)) == ["photos/a.jpg", "photos/b.PNG"]
    assert not made.failed


def test_a_named_file_is_tried_whatever_its_name(folder):
    assert list(jobs(plan(["photos/notes.txt"]))) == ["photos/notes.txt"]
    assert list(jobs(plan(["photos/notes.txt", "missing.jpg"]))) == [
        "photos/notes.txt",
        "missing.jpg",
    ]


def test_results_of_earlier_runs_are_no_photos(folder):
    (folder / "photos" / "a_restored.png").touch()
    out = folder / "photos" / "out"
    out.mkdir()
    (out / "b.png").touch()
    made = plan(["photos"], Path("photos/out"), recursive=True, overwrite=True)
    assert list(jobs(made)) == [
        "photos/a.jpg",
        "photos/b.PNG",
        "photos/deep/a.jpg",
        "photos/deep/c.tif",
    ]
    reasons = {left.path.as_posix(): left.reason for left in made.skipped}
    assert reasons["photos/a_restored.png"] == "a result of an earlier run"
    assert reasons["photos/out/b.png"] == "a result of an earlier run"
    assert "photos/a_restored.png" in jobs(plan(["photos/a_restored.png"]))


def test_results_that_exist_are_left_alone(folder):
    (folder / "photos" / "a_restored.png").touch()
    with pytest.raises(UserError, match=r"a_restored\.png exists already: pass --overwrite"):
        plan(["photos/a.jpg"])
    assert len(plan(["photos/a.jpg"], overwrite=True).jobs) == 1
    made = plan(["photos"])
    assert list(jobs(made)) == ["photos/b.PNG"]
    assert ["exists already" in left.reason for left in made.skipped].count(True) == 1
    assert len(plan(["photos"], overwrite=True).jobs) == 2


def test_many_photos_never_replace_one_of_them(folder):
    (folder / "photos" / "b.png").touch()  # beside b.PNG
    made = plan(["photos"], Path("photos"), overwrite=True)
    assert "photos/b.png" not in jobs(made).values()
    assert {left.path.name for left in made.failed} == {"b.PNG", "b.png"}
    assert all("would replace a photo of this run" in left.reason for left in made.failed)


def test_one_photo_may_replace_itself_if_asked(folder):
    with pytest.raises(UserError, match="exists already"):
        plan(["photos/a.jpg"], Path("photos/a.jpg"))
    made = plan(["photos/a.jpg"], Path("photos/a.jpg"), overwrite=True)
    assert jobs(made) == {"photos/a.jpg": "photos/a.jpg"}


def test_two_photos_with_one_result(folder):
    made = plan(["photos/a.jpg", "photos/deep/a.jpg"], Path("out"))
    assert jobs(made) == {"photos/a.jpg": "out/a.png"}
    (left,) = made.failed
    assert left.path == Path("photos/deep/a.jpg") and "that of photos/a.jpg too" in left.reason


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["photos"], "out.png", r"out\.png is no folder and there are several"),
        (["photos/a.jpg"], "out.gif", r"cannot write this kind: use \.png"),
        (["photos/a.jpg"], "missing/out.png", "no folder missing: make it first"),
        (["photos/*.webp"], None, r"no photos in photos/\*\.webp"),
        (["empty"], None, "no photos in empty: .*--recursive looks deeper"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(folder, inputs, output, reason):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=reason):
        plan(inputs, output and Path(output))
