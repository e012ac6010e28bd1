"""The layouts against the figures of the papers, and against themselves."""

import re
from pathlib import Path

import pytest

from cpl_edge.data.degradations import KINDS
from cpl_edge.data.layouts import LAYOUTS, find_layout
from cpl_edge.data.mio import MIO
from cpl_edge.data.pairing import PAIRINGS
from cpl_edge.errors import UserError

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def samples(name: str) -> int:
    return sum(s.published * s.repeats for s in find_layout(name).split("train"))


def test_an_epoch_of_three_tasks_has_as_many_samples_as_published():
    assert samples("3tasks") == 142_431


def test_other_published_sizes():
    assert samples("5tasks") == 142_431 + 5 * 2103 + 20 * 485
    assert samples("cdd11") == 13_013
    assert sum(s.published for s in find_layout("cdd11").split("test")) == 2_200


def test_tasks_are_those_of_training_in_order():
    assert find_layout("3tasks").tasks == ("noise", "rain", "haze")
    assert find_layout("5tasks").tasks == ("noise", "rain", "haze", "blur", "lowlight")
    assert len(find_layout("7tasks").tasks) == 7
    assert find_layout("allweather").tasks == ("weather",)
    assert find_layout("weatherbench").tasks == ("rain", "haze", "snow")
    composed = find_layout("cdd11").tasks
    assert len(composed) == 11
    assert composed[-1] == "lowlight+haze+snow"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_source_is_sound(layout):
    assert layout.sources
    assert len(set(layout.sources)) == len(layout.sources)
    for source in layout.sources:
        assert source.split in ("train", "test")
        assert source.pairing in PAIRINGS
        assert bool(source.degraded) != bool(source.synthesis)
        assert source.synthesis in {"", *KINDS, *MIO}
        assert "*" not in source.clean
        assert source.repeats >= 1


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_the_documentation_names_every_layout_and_training_folder(layout):
    text = DOCS.read_text(encoding="utf-8")
    assert re.search(rf"^\| .*\b{layout.name}\b", text, re.M)
    for source in layout.split("train"):
        if layout.name == "weatherbench":
            assert "`TASK/input` | `TASK/target`" in text
        elif layout.name == "cdd11":
            assert source.degraded.split("/")[1].split("_")[0] in text
        else:
            assert all(folder in text for folder in source.folders)
            assert f"{source.published:,}" in text


def test_an_unknown_layout_gets_the_nearest_right_name():
    with pytest.raises(UserError, match="no layout '5task': did you mean '5tasks'"):
        find_layout("5task")
    with pytest.raises(UserError, match="choose from 3tasks, 5tasks"):
        find_layout("imagenet")
