from cpl_edge.report.results import Results
from cpl_edge.report.sections.search import search


def test_candidates_are_means_over_seeds(found, rows_of, words_of):
    section = search(found)
    sparse, none = rows_of(section, "search-prompts: candidates")
    assert (sparse["mean seen, dB"], sparse["spread of seeds, dB"]) == ("30.00", "0.20")
    assert none["spread of seeds, dB"] == "one seed"
    assert sparse["snow (unseen), dB"] == "19.00"
    assert sparse["litert w8a8, ms"] == "5.80"
    assert "3 of 4 runs" in words_of(section)
    assert "Nothing beats in both: none, sparse." in words_of(section)


def test_cost_is_macs_where_nothing_was_timed(found, words_of):
    item = found.searches[0]
    runs = tuple(run.model_copy(update={"latency_ms": {}}) for run in item.value.runs)
    found.searches = [type(item)(item.file, item.value.model_copy(update={"runs": runs}))]
    (chart,) = [b for b in search(found).blocks if hasattr(b, "svg")]
    assert "MMAC at 256x256" in chart.svg


def test_without_a_search_the_command_is_told(words_of):
    assert "python -m cpl_edge.search" in words_of(search(Results()))


def test_a_router_that_learned_nothing_is_told_the_degradation(found, rows_of):
    item = found.searches[0]
    figures = [f.model_dump() | {"routed": None, "told": 31.0} for f in item.value.runs[0].figures]
    told = type(item.value.runs[0]).model_validate(
        item.value.runs[0].model_dump() | {"candidate": "oracle", "figures": figures}
    )
    value = item.value.model_copy(update={"runs": (*item.value.runs, told)})
    found.searches = [type(item)(item.file, value)]
    *_, oracle = rows_of(search(found), "search-prompts: candidates")
    assert (oracle["candidate"], oracle["mean seen, dB"]) == ("oracle", "31.00")
