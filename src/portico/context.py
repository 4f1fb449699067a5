"""Which input the code that is running belongs to, inside a container."""

from __future__ import annotations

from contextvars import ContextVar

input_id: ContextVar[int | None] = ContextVar("portico_input_id", default=None)
"""The wire number of the input; formatted only when asked for, because it is set for every request."""

call_id: ContextVar[str | None] = ContextVar("portico_call_id", default=None)


def current_input_id() -> str | None:
    """``in-…`` of the request or call being handled; None outside of one."""
    number = input_id.get()
    return None if number is None else f"in-{number}"


def current_function_call_id() -> str | None:
    """``fc-…`` of the function call being run; None outside of one and for web requests."""
    return call_id.get()
