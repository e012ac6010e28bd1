import pytest

from cpl_edge.data.layouts import LAYOUTS, Source, find_layout
from cpl_edge.data.pairing import PAIRINGS, Item, by_folder, find, training_items
from cpl_edge.errors import UserError


def rain(*names: str):
    source = Source("rain", "train", "gt", "rainy", pairing="rain", repeats=120)
    return find(source, by_folder(names))


@pytest.mark.parametrize(
    ("pairing", "degraded", "clean"),
    [
        ("same", "beautiful_smile_00003", "beautiful_smile_00003"),
        ("rain", "rain-12", "norain-12"),
        ("rain", "rain-003", "norain-003"),
        ("rain", "norain-12", None),
        ("haze", "0025_0.8_0.04", "0025"),
        ("haze", "0025_1_0.2", "0025"),
        ("haze", "0025", None),
        ("haze", "0025_0.8", None),
        ("weather", "im_0001_s80_a04", "im_0001"),
        ("weather", "0_rain", "0_clean"),
        ("weather", "city_read_00001", "city_read_00001"),
    ],
)
def test_names_lead_to_names(pairing, degraded, clean):
    assert PAIRINGS[pairing].clean_name(degraded) == clean


def test_rain_pairs_with_norain():
    found = rain("gt/norain-1.png", "gt/norain-10.png", "rainy/rain-1.png", "rainy/rain-10.png")
    assert found.items == (
        Item("rain", "gt/norain-1.png", "rainy/rain-1.png", repeats=120),
        Item("rain", "gt/norain-10.png", "rainy/rain-10.png", repeats=120),
    )
    assert found.complete


def test_equal_names_pair_under_every_rule():
    found = rain("gt/1.png", "gt/rain-2.png", "rainy/1.png", "rainy/rain-2.png")
    assert [(i.degraded, i.clean) for i in found.items] == [
        ("rainy/1.png", "gt/1.png"),
        ("rainy/rain-2.png", "gt/rain-2.png"),
    ]
    assert found.complete


def test_everything_that_does_not_fit_is_told_apart():
    found = rain(
        "gt/norain-1.png", "gt/norain-2.png",
        "rainy/rain-1.png", "rainy/rain-3.png", "rainy/street.png", "rainy/rain-\udce9.png",
    )  # fmt: skip
    assert [item.degraded for item in found.items] == ["rainy/rain-1.png"]
    assert found.unpaired == (("rainy/rain-3.png", "gt/norain-3"),)
    assert found.unreadable == ("rainy/rain-\udce9.png", "rainy/street.png")
    assert found.unused == found.lost == ("gt/norain-2.png",)
    assert not found.complete


@pytest.mark.parametrize(
    "names",
    [
        ["gt/norain-1.png", "rainy/rain-1.png", "rainy/rain-3.png"],
        ["gt/norain-1.png", "rainy/rain-1.png", "rainy/street.png"],
        ["gt/norain-1.png", "gt/norain-2.png", "rainy/rain-1.png"],
        ["gt/norain-1.png"],
        ["rainy/rain-1.png"],
        [],
    ],
)
def test_each_fault_alone_makes_a_source_incomplete(names):
    assert not rain(*names).complete


def test_an_empty_folder_is_told_once_and_not_for_every_image():
    found = rain("rainy/rain-1.png", "rainy/rain-2.png")
    assert found.empty == ("gt",)
    assert found.unpaired == ()
    assert rain().empty == ("rainy", "gt")


def test_haze_shares_clean_images_and_may_leave_some_unused():
    source = Source("haze", "train", "original", "synthetic/part*", pairing="haze")
    found = find(
        source,
        by_folder(
            [
                "original/0001.jpg",
                "original/0002.png",
                "original/0003.png",
                "synthetic/part1/0001_0.8_0.04.jpg",
                "synthetic/part2/0001_1_0.2.jpg",
                "synthetic/part2/0002_1_0.2.jpg",
                "synthetic/other/0003_1_0.2.jpg",
                "synthetic/part1/deep/0003_1_0.2.jpg",
            ]
        ),
    )
    assert [(i.degraded[-14:], i.clean) for i in found.items] == [
        ("1_0.8_0.04.jpg", "original/0001.jpg"),
        ("0001_1_0.2.jpg", "original/0001.jpg"),
        ("0002_1_0.2.jpg", "original/0002.png"),
    ]
    assert found.unused == ("original/0003.png",)
    assert found.complete


def test_of_two_clean_files_of_one_name_the_same_kind_is_taken():
    names = ["gt/1.jpg", "gt/1.png", "low/1.png"]
    found = find(Source("lowlight", "train", "gt", "low"), by_folder(names))
    assert found.items[0].clean == "gt/1.png"


def test_a_synthesis_takes_every_clean_image():
    source = Source("noise", "train", "Train/Denoise", repeats=9, synthesis="noise")
    names = ["Train/Denoise/a.bmp", "Train/Denoise/b.jpg", "Train/c.png", "Train/Denoise/d/e.png"]
    found = find(source, by_folder(names))
    assert found.items == (
        Item("noise", "Train/Denoise/a.bmp", synthesis="noise", repeats=9),
        Item("noise", "Train/Denoise/b.jpg", synthesis="noise", repeats=9),
    )


def test_training_items_are_those_of_all_training_sources():
    names = [
        "Train/Denoise/1.bmp",
        "Train/Derain/gt/norain-1.png", "Train/Derain/rainy/rain-1.png",
        "Train/Dehaze/original/1.png", "Train/Dehaze/synthetic/part1/1_1_0.2.jpg",
        "test/dehaze/target/7.png", "test/dehaze/input/7_1_0.2.jpg",
    ]  # fmt: skip
    items = training_items(find_layout("3tasks"), names)
    assert [(item.task, item.repeats) for item in items] == [
        ("noise", 9),
        ("rain", 120),
        ("haze", 1),
    ]
    with pytest.raises(UserError, match=r"no images for rain of 3tasks: .*Train/Derain/rainy and"):
        training_items(find_layout("3tasks"), names[:1] + names[3:])


def test_every_layout_names_what_it_lacks():
    for layout in LAYOUTS.values():
        with pytest.raises(UserError, match=f"no images for .* of {layout.name}"):
            training_items(layout, [])
