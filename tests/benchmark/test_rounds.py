import pytest

from cpl_edge.benchmark.process import Refused
from cpl_edge.benchmark.rounds import Entry, run_rounds, time_limit, warm_up


class FakeWorker:
    """Answers in a made-up time: ``query`` seconds each, and writes down who was asked."""

    def __init__(self, name, query, log, dies_after=10**9):
        self.name, self.query, self.log, self.dies_after = name, query, log, dies_after

    def run(self, entry, queries, seconds):
        self.log.append(self.name)
        count = max(1, min(queries, -(-seconds // self.query)))
        self.dies_after -= count
        if self.dies_after < 0:
            raise Refused("its process ended with signal 9")
        return [self.query * 1e3] * int(count), self.query * count


def entries_of(*pairs, queries=1024, seconds=60.0, log=None, **more):
    log = [] if log is None else log
    made = [
        Entry(FakeWorker(str(i), query, log, **more), "forward", queries, seconds)
        for i, query in enumerate(pairs)
    ]
    for _ in warm_up(made, 0.5):
        pass
    log.clear()
    return made


def drain(entries, rounds, limit=float("inf")):
    assert len(list(run_rounds(entries, rounds, limit))) == len(entries) * rounds


def test_an_entry_ends_at_its_queries_or_its_seconds():
    fast, slow = entries_of(0.01, 5.0)
    drain([fast, slow], 12)
    assert len(fast.times_ms) == 1024 and fast.complete
    assert slow.spent == 60 and len(slow.times_ms) == 12 and slow.complete
    assert [len(times) for times in slow.rounds_ms] == [1] * 12
    assert max(map(len, fast.rounds_ms)) - min(map(len, fast.rounds_ms)) <= 1


def test_entries_take_turns_and_the_turn_is_reversed():
    log = []
    entries = entries_of(0.2, 0.2, 0.2, log=log, queries=4)  # slow enough not to be settled
    drain(entries, 2)
    assert log == ["0", "1", "2", "2", "1", "0"]


def test_what_settles_a_fast_entry_is_not_counted():
    log = []
    (entry,) = entries_of(0.001, log=log, queries=10)
    drain([entry], 2)
    assert len(log) == 4 and len(entry.times_ms) == 10
    assert entry.cpu_seconds == pytest.approx(0.010)


def test_few_slow_queries_spread_over_the_rounds():
    (slow,) = entries_of(5.0)
    drain([slow], 12, limit=20.0)
    made = [index for index, times in enumerate(slow.rounds_ms) if times]
    assert len(slow.times_ms) == 4 and not slow.complete
    assert made[0] == 0 and made[-1] >= 8
    assert sum(median is None for median in slow.medians_ms) == 8


def test_a_limit_takes_from_the_slow_first():
    entries = entries_of(0.001, 1.0, 5.0)  # they want 1.024, 60 and 60 seconds
    assert time_limit(entries, 200) == float("inf")
    assert time_limit(entries, 61.024) == pytest.approx(30)
    assert time_limit(entries, 0.3) == pytest.approx(0.1)
    assert time_limit(entries, -5) == 0


def test_every_entry_makes_one_query_whatever_the_limit():
    entries = entries_of(0.001, 5.0)
    drain(entries, 3, limit=0.0)
    assert [len(entry.times_ms) for entry in entries] == [1, 1]


def test_a_process_that_dies_leaves_the_others_alone():
    log = []
    entries = entries_of(0.1, 0.1, log=log, queries=12, dies_after=8)
    entries[0].worker.dies_after = 10**9
    drain(entries, 4)
    assert len(entries[0].times_ms) == 12 and entries[0].refused is None
    assert "signal 9" in entries[1].refused
    assert log.count("1") < 4  # it is not asked again
