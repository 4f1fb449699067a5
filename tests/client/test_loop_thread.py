from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from portico.client.loop_thread import LoopThread


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def alarm() -> Iterator[None]:
    former = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.usefixtures("alarm")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before it began
def test_an_interrupt_at_any_moment_ends_the_work_and_leaves_the_loop_usable() -> None:
    thread = LoopThread("test")
    running: set[int] = set()

    async def work(number: int) -> None:
        running.add(number)
        try:
            await asyncio.Event().wait()
        finally:
            running.discard(number)

    async def look() -> set[int]:
        return set(running)

    assert thread.run(look()) == set()  # the thread is up
    moments = random.Random(7)
    for number in range(300):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 3e-4))
            thread.run(work(number))
        assert thread.run(look()) == set()
    thread.close()
