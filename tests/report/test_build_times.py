import pytest

from cpl_edge.report.build_times import time_of


def card_of(found, precision, **changes):
    (card,) = [b.value for b in found.builds if b.value.recipe.precision == precision]
    recipe = card.recipe.model_copy(update=changes)
    return card.model_copy(update={"recipe": recipe})


@pytest.fixture
def fp32(found):
    return card_of(found, "fp32")


def test_the_newest_full_run_tells_ms_and_speed_up_of_its_own_fp32(found, fp32):
    time = time_of(card_of(found, "w8a8"), found)
    assert time.file == "latency-default-20260102-100000.json"  # the later one is quick
    assert (time.ms, time.speed_up) == (5.8, pytest.approx(18.9 / 5.8))
    assert (time_of(fp32, found).ms, time_of(fp32, found).speed_up) == (18.9, 1.0)


def test_an_older_run_counts_where_the_newest_lacks_the_build(found):
    (known,) = [run for run in found.latency if run.file.endswith("20260102-100000.json")]
    rows = tuple(row for row in known.value.rows if row.precision != "w8a8")
    later = known.value.model_copy(update={"rows": rows, "started": "2027-01-01T00:00:00+00:00"})
    found.latency.append(type(known)("later.json", later))
    assert time_of(card_of(found, "w8a8"), found).file == known.file
    assert time_of(card_of(found, "fp32"), found).file == "later.json"


def test_rows_of_other_weights_sizes_or_routing_are_not_the_builds_own(found, fp32):
    assert time_of(fp32.model_copy(update={"digest": "d" * 64}), found) is None
    assert time_of(card_of(found, "fp32", size=(128, 256)), found) is None
    assert time_of(card_of(found, "fp32", routing="pinned", degradation="rain"), found) is None
    assert time_of(card_of(found, "w8"), found) is None  # never measured


def test_a_pinned_build_is_held_against_fp32_that_routes_if_there_is_no_other(found):
    pinned = card_of(found, "w8a8", routing="pinned", degradation="rain")
    for i, run in enumerate(found.latency):
        rows = tuple(
            row.model_copy(update={"routing": "pinned", "pinned": "rain"})
            if row.precision == "w8a8" else row
            for row in run.value.rows
        )  # fmt: skip
        found.latency[i] = type(run)(run.file, run.value.model_copy(update={"rows": rows}))
    assert time_of(pinned, found).speed_up == pytest.approx(18.9 / 5.8)
    assert time_of(card_of(found, "w8a8"), found) is None
