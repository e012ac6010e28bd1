"""Miniature copies of every layout, whole and with each kind of fault."""

import io
import json

import pytest
from rich.console import Console

from cpl_edge.data.layout_checks import check, list_folders, print_report, problems, to_json
from cpl_edge.data.layouts import LAYOUTS, find_layout
from cpl_edge.errors import UserError


def lines(layout, root):
    return [line for found in check(layout, root) for line in problems(found, root)]


def printed(layout, root):
    text = io.StringIO()
    print_report(layout, root, check(layout, root), Console(file=text, width=120))
    return text.getvalue()


@pytest.fixture(name="five")
def five_tasks(make_dataset, tmp_path):
    return make_dataset("5tasks", tmp_path / "five")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_a_whole_dataset_lacks_nothing(layout, make_dataset, tmp_path):
    root = make_dataset(layout.name, tmp_path)
    found = check(layout, root)
    assert all(one.complete and one.items for one in found)
    assert lines(layout, root) == []
    for item in (item for one in found for item in one.items):
        assert (root / item.clean).is_file()
        assert not item.degraded or (root / item.degraded).is_file()
        assert item.degraded != item.clean


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_missing_folder_is_told_with_its_place(layout, make_dataset, tmp_path):
    root = make_dataset(layout.name, tmp_path)
    for source in layout.sources:
        folder = next(root.glob(source.folders[0]))
        folder.rename(tmp_path / "aside")
        if "*" not in source.folders[0]:
            assert f"no images in {root / source.folders[0]}" in lines(layout, root)
        (tmp_path / "aside").rename(folder)
    assert lines(layout, root) == []


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_missing_clean_image_is_told(layout, make_dataset, tmp_path):
    root = make_dataset(layout.name, tmp_path)
    for item in {item.clean: item for one in check(layout, root) for item in one.items}.values():
        if item.degraded:
            (root / item.clean).rename(tmp_path / "aside")
            told = lines(layout, root)
            assert told
            assert all(item.clean.rsplit(".")[0] in t or "no images in" in t for t in told)
            (tmp_path / "aside").rename(root / item.clean)


def test_counts_are_those_of_the_folders(five):
    report = to_json(find_layout("5tasks"), check(find_layout("5tasks"), five))
    counts = {(s["split"], s["task"], s["folders"][0]): s["images"] for s in report["sources"]}
    assert counts["train", "noise", "Train/Denoise"] == 2
    assert counts["train", "haze", "Train/Dehaze/synthetic/part*"] == 3
    assert counts["train", "rain", "Train/Derain/rainy"] == 2
    assert counts["test", "lowlight", "test/enhance/lol/input"] == 1
    assert report["complete"] is True
    assert report["samples"] == 2 * 9 + 2 * 120 + 3 * 1 + 1 * 5 + 1 * 20


def test_a_missing_clean_image_is_told_with_its_place(five):
    (five / "Train/Derain/gt/norain-10.png").unlink()
    (only,) = lines(find_layout("5tasks"), five)
    wanted = "Train/Derain/gt/norain-10.* for Train/Derain/rainy/rain-10.png"
    assert only == f"1 clean images missing: {wanted}"


def test_a_missing_degraded_image_is_told_where_each_must_have_one(five):
    (five / "Train/Derain/rainy/rain-1.png").unlink()
    (only,) = lines(find_layout("5tasks"), five)
    assert only == "1 degraded images missing, those of Train/Derain/gt/norain-1.png"


def test_an_unused_haze_free_image_is_no_fault(five):
    (five / "Train/Dehaze/synthetic/part2/3068_0.95_0.16.jpg").unlink()
    assert lines(find_layout("5tasks"), five) == []
    assert "remark: 1 clean images have no degraded one" in printed(find_layout("5tasks"), five)


def test_a_name_that_fits_no_rule_is_told_with_an_example(five):
    image = five / "Train/Dehaze/synthetic/part1/0025_1_0.2.jpg"
    image.rename(image.with_name("fog.jpg"))
    (only,) = lines(find_layout("5tasks"), five)
    assert only.startswith("1 names are not named like 0025_0.8_0.04.jpg: Train/Dehaze/synthetic/")
    assert only.endswith("fog.jpg")


def test_a_folder_in_other_capitals_gets_a_hint(five):
    (five / "Train").rename(five / "TRAIN")
    if (five / "Train").exists():
        pytest.skip("the file system does not tell capitals apart")
    told = lines(find_layout("5tasks"), five)
    assert f"no images in {five}/Train/Denoise (there is {five}/TRAIN: capitals matter)" in told


def test_long_lists_are_cut_for_people_but_not_for_machines(five):
    for n in range(20, 30):
        (five / f"Train/Derain/rainy/rain-{n}.png").write_bytes(b"")
    layout = find_layout("5tasks")
    (only,) = lines(layout, five)
    assert only.startswith("10 clean images missing: ")
    assert only.endswith(" and 5 more")
    report = json.loads(json.dumps(to_json(layout, check(layout, five))))
    (rain,) = (s for s in report["sources"] if s["unpaired"])
    assert len(rain["unpaired"]) == 10
    assert rain["unpaired"][0] == {
        "degraded": "Train/Derain/rainy/rain-20.png",
        "clean": "Train/Derain/gt/norain-20",
    }
    assert report["complete"] is rain["complete"] is False


def test_hidden_files_other_files_and_subfolders_are_left_out(five):
    for name in ("._norain-1.png", ".DS_Store", "readme.txt", "deep/norain-7.png"):
        path = five / "Train/Derain/gt" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert lines(find_layout("5tasks"), five) == []
    folders = list_folders(five, ["Train/Derain/gt"])
    assert folders == {
        "Train/Derain/gt": ["Train/Derain/gt/norain-1.png", "Train/Derain/gt/norain-10.png"]
    }


def test_the_report_is_a_table_with_published_counts(five):
    text = printed(find_layout("5tasks"), five)
    assert "72135" in text
    assert "Train/Dehaze/synthetic/part*" in text
    assert "2 images where the authors had 5144" in text
    assert "incomplete" not in text
    (five / "Train/Enhance/gt/2.png").unlink()
    assert "incomplete" in printed(find_layout("5tasks"), five)


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        check(find_layout("3tasks"), tmp_path / "nowhere")
