from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from portico.pools.autoscaler import Idle, Snapshot, decide, desired, headroom
from portico.wire.manifest import Scaling

scalings = st.builds(
    lambda minimum, extra, buffer, target, window: Scaling(
        min_containers=minimum,
        max_containers=None if extra is None else minimum + extra,
        buffer_containers=buffer,
        max_inputs=target,
        scaledown_window=window,
    ),
    st.integers(0, 5),
    st.none() | st.integers(1, 20),
    st.integers(0, 3),
    st.integers(1, 100),
    st.floats(0, 1000),
)


def test_nothing_to_do_for_an_unused_function():
    assert decide(Scaling(), Snapshot(0, 0, 0, ()), 0).start == 0


def test_one_waiting_input_starts_one_container():
    assert decide(Scaling(), Snapshot(0, 1, 0, ()), 0).start == 1


def test_containers_follow_running_and_waiting_inputs():
    scaling = Scaling(max_inputs=10)
    assert decide(scaling, Snapshot(15, 6, 2, ()), 0).start == 1


def test_target_inputs_scale_before_the_slots_are_full():
    assert desired(Scaling(max_inputs=10, target_inputs=5), 6) == 2


def test_max_containers_is_hard_even_in_a_burst():
    assert desired(Scaling(max_containers=3), 10_000) == 3


def test_buffer_only_while_active():
    scaling = Scaling(buffer_containers=2)
    assert desired(scaling, 0) == 0
    assert desired(scaling, 1) == 3


def test_idle_container_stays_for_the_window_and_is_looked_at_when_it_ends():
    pool = Snapshot(0, 0, 1, (Idle("a", 100.0),))
    decision = decide(Scaling(scaledown_window=60), pool, 120.0)
    assert decision.stop == []
    assert decision.wake_at == 160.0
    assert decide(Scaling(scaledown_window=60), pool, 160.0).stop == ["a"]


def test_idle_longest_goes_first_and_only_the_surplus():
    pool = Snapshot(1, 0, 3, (Idle("young", 90.0), Idle("old", 10.0)))
    scaling = Scaling(scaledown_window=5, min_containers=2)
    assert decide(scaling, pool, 200.0).stop == ["old"]


@given(scalings, st.integers(0, 500), st.integers(0, 500), st.integers(0, 30), st.data())
def test_bounds_hold_for_any_pool(scaling, running, waiting, live, data):
    now = data.draw(st.floats(0, 2000))
    idle = [
        Idle(str(n), data.draw(st.floats(0, now))) for n in range(data.draw(st.integers(0, live)))
    ]
    decision = decide(scaling, Snapshot(running, waiting, live, idle), now)
    after = live + decision.start - len(decision.stop)
    assert after >= min(live, scaling.min_containers)
    if scaling.max_containers is not None and live <= scaling.max_containers:
        assert after <= scaling.max_containers
    assert set(decision.stop) <= {i.container_id for i in idle}
    assert after >= min(live, desired(scaling, running + waiting))
    assert not (decision.start and decision.stop)


@given(scalings, st.integers(0, 30))
def test_headroom_is_the_last_load_that_starts_nothing(scaling, live):
    most = headroom(scaling, live)
    if math.isinf(most):
        assert desired(scaling, 10**6) <= live
        return
    if most > 0:
        assert desired(scaling, int(most)) <= max(live, scaling.min_containers)
    assert desired(scaling, int(most) + 1) > live
