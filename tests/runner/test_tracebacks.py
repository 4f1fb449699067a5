"""Users' exceptions without the machinery's frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from portico.runner.tracebacks import trimmed


def fails() -> None:
    raise ValueError("no good")


def test_the_thread_a_function_runs_on_is_no_frame_of_its_traceback() -> None:
    with ThreadPoolExecutor(1) as threads:
        error = threads.submit(fails).exception()
    assert error is not None
    text = trimmed(error)
    assert "in fails" in text
    assert "thread.py" not in text
