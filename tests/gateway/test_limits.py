from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portico.gateway.limits import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.floats(0.1, 1000),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 300)), max_size=30),
)
def test_never_more_than_rate_times_t_plus_burst_and_never_a_refusal_below(rate, burst, arrivals):
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock)
    taken = 0
    level = float(burst)
    for pause, count in arrivals:
        clock.now += pause
        level = min(burst, level + pause * rate)
        for _ in range(count):
            admitted = bucket.take()
            if abs(level - 1) > 1e-6:  # at the very bound, rounding may decide
                assert admitted is (level >= 1)
            if admitted:
                taken += 1
                level -= 1
    assert taken <= burst + rate * clock.now + 1e-6


def test_no_rate_is_no_bound():
    bucket = TokenBucket(None, 0, Clock())
    assert all(bucket.take() for _ in range(10_000))


def test_retry_after_is_long_enough():
    clock = Clock()
    bucket = TokenBucket(0.25, 1, clock)
    assert bucket.take()
    assert not bucket.take()
    clock.now += bucket.retry_after
    assert bucket.take()
