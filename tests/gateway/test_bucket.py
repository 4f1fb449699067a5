"""The token bucket against what it promises, in exact arithmetic."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from portico.gateway.limits import TokenBucket


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Trial:
    """A bucket, and beside it what it is defined to be, without rounding."""

    def __init__(self, rate: float, burst: int, start: float = 0.0) -> None:
        self.clock = Clock(start)
        self.bucket = TokenBucket(rate, burst, self.clock)
        self.rate, self.burst = Fraction(rate), burst
        self.level = Fraction(burst)
        self.taken: list[Fraction] = []

    def requests(self, arrivals: list[tuple[float, int]]) -> Iterator[tuple[Fraction, bool]]:
        """Let requests come after pauses; yields the exact level at each, and whether it was admitted."""
        for pause, count in arrivals:
            before = self.clock.now
            self.clock.now += pause
            passed = Fraction(self.clock.now) - Fraction(before)
            self.level = min(Fraction(self.burst), self.level + passed * self.rate)
            for _ in range(count):
                admitted = self.bucket.take()
                yield self.level, admitted
                if admitted:
                    self.level -= 1
                    self.taken.append(Fraction(self.clock.now))

    def excess(self) -> Fraction:
        """By how much the takes of any interval were more than ``rate · t + burst``.

        From take i to take j are j - i + 1 takes in the time between them: one pass finds the most.
        """
        most, least = Fraction(-self.burst), Fraction(0)
        for number, when in enumerate(self.taken):
            least = min(least, number - self.rate * when) if number else -self.rate * when
            most = max(most, number + 1 - self.rate * when - least - self.burst)
        return most


DYADIC = st.integers(0, 2**14).map(lambda n: n / 2**10)  # pauses that floats hold exactly
COUNTS = st.integers(0, 300)
TIMES = st.tuples(st.floats(0, 10), COUNTS)
RATES, SIZES, STARTS = st.floats(0.01, 5000), st.integers(1, 500), st.floats(0, 1e7)


@settings(deadline=None)
@given(st.integers(1, 1000), SIZES, st.lists(st.tuples(DYADIC, COUNTS), max_size=12))
@example(200, 1000, [(0.0, 1001), (1 / 1024, 1), (5 / 1024, 1), (1.0, 201), (60.0, 1001)])
def test_never_more_than_rate_times_t_plus_burst_and_never_a_refusal_below(rate, burst, arrivals):
    trial = Trial(rate, burst)
    for level, admitted in trial.requests(arrivals):
        assert admitted is (level >= 1)
    assert trial.excess() <= 0


@settings(deadline=None)
@given(RATES, SIZES, STARTS, st.lists(TIMES, max_size=12))
def test_rounding_is_worth_less_than_a_thousandth_of_a_request(rate, burst, start, arrivals):
    trial = Trial(rate, burst, start)
    for level, admitted in trial.requests(arrivals):
        if abs(level - 1) > Fraction(1, 1000):  # at the very bound, rounding may decide
            assert admitted is (level >= 1)
    assert trial.excess() <= Fraction(1, 1000)


def test_rounding_does_not_add_up():
    clock = Clock(12_345.678)
    bucket = TokenBucket(200, 1000, clock)
    admitted = 0
    for _ in range(400_000):  # twice as fast as it may
        clock.now += 0.0025
        admitted += bucket.take()
    assert admitted in (200_999, 201_000)


@settings(deadline=None)
@given(RATES, SIZES, STARTS, st.lists(TIMES, max_size=6))
def test_retry_after_is_honest_and_not_longer_than_needed(rate, burst, start, arrivals):
    trial = Trial(rate, burst, start)
    for level, admitted in trial.requests(arrivals):
        if admitted:
            continue
        wait = trial.bucket.retry_after
        assert 1 <= wait <= (1 - level) / Fraction(rate) + Fraction(1001, 1000)
        later = copy.copy(trial.bucket)
        later._clock = Clock(trial.clock.now + wait)
        assert later.take()


def test_no_rate_is_no_bound():
    bucket = TokenBucket(None, 1, Clock())
    assert all(bucket.take() for _ in range(10_000))
