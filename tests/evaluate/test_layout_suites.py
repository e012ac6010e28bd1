"""The suites of the papers' tables on miniature copies of the published datasets."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.data import coffee

from cpl_edge.data.layouts import LAYOUTS
from cpl_edge.errors import UserError
from cpl_edge.evaluate.report import print_tables, published_table, to_json
from cpl_edge.evaluate.rows import measure, summarise
from cpl_edge.evaluate.run import Evaluation
from cpl_edge.evaluate.samples import available, find_samples
from cpl_edge.evaluate.suites import Pairs, load_suite, suite_names
from cpl_edge.restore.outcome import Restored, Seconds
from cpl_edge.runtimes.info import ModelInfo

INFO = ModelInfo(
    student="s", target="litert", precision="fp32", routing="auto", pinned=None, height=256,
    width=256, layout="NHWC", halo=32, multiple=4, degradations=("noise", "rain"), levels=3,
    sites=1, entry_points=("forward", "route", "restore"), digest="ab" * 32,
)  # fmt: skip
PAPERS = sorted(name for name in suite_names() if load_suite(name).layout)

# Names as published: degraded and clean.
NAMES = {
    "same": [("1.png", "1.png"), ("2.png", "2.png")],
    "rain": [("rain-1.png", "norain-1.png"), ("rain-2.png", "norain-2.png")],
    "haze": [("0001_0.8_0.2.jpg", "0001.png"), ("0001_0.9_0.1.jpg", "0001.png")],
    "weather": [("im_01_s80_a04.png", "im_01.png"), ("0_rain.png", "0_clean.png")],
}


def save(path, image_HWC):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(path)


def miniature(root, suite, without=()):
    """Every folder that a suite reads, with two images of 32x48 pixels or two pairs."""
    for degradation in suite.degradations:
        if degradation.label in without:
            continue
        photo = np.ascontiguousarray(coffee()[100:132, 200:248])
        if not isinstance(degradation, Pairs):
            for name in "ab":
                save(root / degradation.images / f"{name}.png", photo)
            continue
        for degraded, clean in NAMES[degradation.pairing]:
            save(root / degradation.input / degraded, photo // 2)
            save(root / degradation.target / clean, photo)
    return root


class Brighter:
    """Restores what the miniature pairs lost."""

    def restore_float(self, image_HWC, degradation="auto"):
        return Restored(np.clip(image_HWC * 2, 0, 1), None, "rain", {}, 1, Seconds())


def evaluation(suite, data):
    chosen, notes = available(suite, data)
    rows = [measure(sample, chosen, Brighter()) for sample in find_samples(chosen, data)]
    summaries = summarise(rows, INFO.degradations)
    return Evaluation(
        chosen, data / "s.tflite", INFO, "auto", 1, 0, tuple(rows), tuple(summaries), notes
    )


def text(of, width=200):
    file = io.StringIO()
    console = Console(file=file, width=width)
    print_tables(of, console) if isinstance(of, Evaluation) else console.print(of)
    return file.getvalue()


def test_every_layout_that_has_tests_has_a_suite():
    assert {load_suite(name).layout for name in PAPERS} == set(LAYOUTS)


@pytest.mark.parametrize("name", PAPERS)
def test_suites_read_the_folders_of_their_layout(name):
    suite = load_suite(name)
    layout = LAYOUTS[suite.layout]
    sources = layout.split("test") or layout.split("train")
    for degradation in suite.degradations:
        if isinstance(degradation, Pairs):
            (source,) = [s for s in sources if s.degraded == degradation.input]
            assert (source.clean, source.pairing) == (degradation.target, degradation.pairing)
            assert source.task == degradation.degradation
        else:
            synthesis = getattr(degradation, "degradation", "noise")
            assert any(s.clean == degradation.images and s.synthesis == synthesis for s in sources)


@pytest.mark.parametrize("name", PAPERS)
def test_a_miniature_copy_is_measured(name, tmp_path):
    suite = load_suite(name)
    found = evaluation(suite, miniature(tmp_path, suite))
    assert found.notes == () and found.suite == suite
    assert [s.label for s in found.summaries] == [d.label for d in suite.degradations]
    assert all(s.images == 2 for s in found.summaries)
    for summary in found.summaries:
        if isinstance(suite.degradations[0], Pairs):
            assert summary.psnr_after > summary.psnr_before + 10
    assert json.dumps(to_json(found), allow_nan=False)
    out = text(found)
    if suite.published:
        assert "CPL" in out and suite.remark[:40] in out
        assert "note:" not in out


def test_averages_stand_beside_the_papers(tmp_path):
    suite = load_suite("3tasks")
    found = evaluation(suite, miniature(tmp_path, suite))
    table = text(published_table(found))
    after = [s.psnr_after for s in found.summaries]
    ours = next(line for line in table.splitlines() if "this model" in line)
    assert f"{np.mean(after):.2f}" in ours.split()[-1]
    assert next(line for line in table.splitlines() if "MIRAGE" in line).split()[-6:] == [
        *"-----",
        "32.77",
    ]


@pytest.mark.parametrize("name", ["3tasks", "5tasks"])
def test_published_averages_are_those_of_their_figures(name):
    for entry in load_suite(name).published:
        if entry.psnr:
            assert np.mean([*entry.psnr.values()]) == pytest.approx(entry.average, abs=0.011)


def test_what_is_not_there_is_left_out_and_said(tmp_path):
    suite = load_suite("5tasks")
    found = evaluation(suite, miniature(tmp_path, suite, without=("GoPro", "SOTS")))
    assert [s.label for s in found.summaries] == ["noise 25", "Rain100L", "LOL"]
    out = text(found)
    assert f"note: GoPro left out: no images in {tmp_path / 'test/deblur/gopro/input'}" in out
    assert "note: SOTS left out" in out
    ours = next(line for line in out.splitlines() if "this model" in line)
    assert ours.split()[-1] == "-"  # no average of three tasks beside one of five
    assert to_json(found)["notes"] == list(found.notes)


def test_a_folder_without_images_is_as_good_as_none(tmp_path):
    suite = load_suite("5tasks")
    miniature(tmp_path, suite, without=("LOL",))
    (tmp_path / "test/enhance/lol/input").mkdir(parents=True)
    (tmp_path / "test/enhance/lol/input/._1.png").write_bytes(b"")
    _, notes = available(suite, tmp_path)
    assert len(notes) == 1 and notes[0].startswith("LOL left out")


def test_nothing_there_at_all_is_one_line(tmp_path, monkeypatch):
    message = (
        r"suite 'cdd11' finds none of its images: it expects test/low, test/clear, .* below "
        rf"{tmp_path} \(python -m cpl_edge\.data --layout cdd11 --check {tmp_path}\)$"
    )
    with pytest.raises(UserError, match=message) as error:
        available(load_suite("cdd11"), tmp_path)
    assert "\n" not in str(error.value)
    monkeypatch.delenv("CPL_EDGE_DATA", raising=False)
    suite, notes = available(load_suite("cdd11"), None)
    with pytest.raises(UserError, match=r"'cdd11' reads your images: set --data .* test/low and"):
        find_samples(suite, None)
    assert notes == ()


def test_names_that_fit_no_rule_are_named(tmp_path):
    suite = load_suite("3tasks")
    miniature(tmp_path, suite)
    save(tmp_path / "test/dehaze/input/nonsense_1.png", coffee()[:32, :48])
    with pytest.raises(UserError, match=r"nonsense_1\.png is not named like 0025_0\.8_0\.04\.jpg"):
        find_samples(suite, tmp_path)


def test_hazy_images_of_one_scene_share_their_target(tmp_path):
    suite = load_suite("3tasks")
    suite = suite.model_copy(update={"degradations": suite.degradations[3:4]})
    samples = find_samples(suite, miniature(tmp_path, suite))
    assert [s.name for s in samples] == ["0001_0.8_0.2", "0001_0.9_0.1"]
    assert len({s.clean for s in samples}) == 1
    assert replace(samples[0], name="x").load(16)[0].shape == (32, 48, 3)
