"""Numbers that only grow, and how long those of stopped apps are kept."""

from __future__ import annotations

from portico.pools.member import ColdStart
from portico.pools.tally import LATENCY_BOUNDS, Durations, Subject, Tallies, Tally


def subjects(*names: str) -> frozenset[Subject]:
    return frozenset(Subject("main", "app", name) for name in names)


def test_a_duration_counts_at_the_smallest_bound_it_does_not_exceed() -> None:
    durations = Durations((1.0, 2.0))
    for seconds in (0.0, 1.0, 1.5, 2.0, 2.1, 1e9):
        durations.add(seconds)
    assert durations.counts == [2, 2, 2]
    assert durations.total == 1e9 + 6.6


def test_a_tally_counts_each_request_once_and_a_copy_stands_still() -> None:
    tally = Tally(Subject("main", "app", "f"))
    tally.answer(200, 0.001)
    tally.answer(404, 1000.0)
    tally.other("aborted", 0)
    tally.other("rate_limited", 429)
    tally.cold_start(ColdStart({"queue": 10.0, "boot": 400.0}))
    copy = tally.copy()
    for one in (tally, copy):
        assert (one.answered[2], one.answered[4], sum(one.answered)) == (1, 1, 2)
        assert one.latency.counts[0] == one.latency.counts[len(LATENCY_BOUNDS)] == 1
        assert one.others == {("aborted", 0): 1, ("rate_limited", 4): 1}
        assert one.cold_starts["boot"].total == 0.4
        tally.answer(200, 0.2)
        tally.other("aborted", 0)
        tally.cold_start(ColdStart({"boot": 1.0}))
        tally = copy


def test_numbers_of_a_stopped_app_stay_and_go_on_when_it_comes_back() -> None:
    tallies = Tallies(keep=1)
    (subject,) = subjects("f")
    tallies.of(subject).answer(200, 0.1)
    tallies.running("ap-1", subjects("f"))
    tallies.running("ap-1", frozenset())
    assert [tally.answered[2] for tally in tallies.all] == [1]
    tallies.of(subject).answer(200, 0.1)
    assert [tally.answered[2] for tally in tallies.all] == [2]


def test_the_functions_that_stopped_first_are_forgotten_and_those_that_run_never() -> None:
    tallies = Tallies(keep=2)
    for name in "abcde":
        tallies.of(Subject("main", "app", name))
    tallies.running("ap-1", subjects("a", "b", "c"))
    tallies.running("ap-2", subjects("c", "d", "e"))
    tallies.running("ap-1", subjects("a"))  # the new version has no b, and c runs elsewhere
    assert {tally.subject.function for tally in tallies.all} == set("abcde")
    tallies.running("ap-2", frozenset())
    kept = {tally.subject.function for tally in tallies.all}
    assert len(kept) == 3
    assert "a" in kept
    assert "b" not in kept
