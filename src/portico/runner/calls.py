"""Function calls: cloudpickle in, cloudpickle out, over the control socket."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from portico.context import call_id
from portico.runner.inputs import Input, Inputs
from portico.runner.tracebacks import report, summary, trimmed
from portico.wire.container import Call, CallResult, FromContainer

Target = Callable[..., Any]


class Calls:
    """Runs calls of the container's methods: asynchronous ones on the loop, the others on threads."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        inputs: Inputs,
        send: Callable[[FromContainer], None],
        slots: int,
    ) -> None:
        self._targets = targets
        self._inputs = inputs
        self._send = send
        self._threads = ThreadPoolExecutor(max(slots, 1), thread_name_prefix="portico-call")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Call) -> None:
        """Begin `call`; its `CallResult` and `Ended` follow."""
        task = asyncio.ensure_future(self._run(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: Call) -> None:
        current = self._inputs.begin(call.input)
        if current is None:
            return
        call_id.set(call.call_id)
        try:
            self._send(await self._outcome(call, current))
        finally:
            self._inputs.end(call.input)

    async def _outcome(self, call: Call, current: Input) -> CallResult:
        try:
            payload = await self._invoke(call)
        except asyncio.CancelledError:
            if not current.cancelled:
                raise
            return CallResult(input=call.input, call_id=call.call_id, ok=False, error="cancelled")
        except Exception as error:
            report(error)
            return failure(call, error)
        return CallResult(input=call.input, call_id=call.call_id, ok=True, payload=payload)

    async def _invoke(self, call: Call) -> bytes:
        target = self._targets.get(call.method)
        if target is None:
            raise LookupError(f"nothing here can be called as {call.method or 'a function'!r}")
        if inspect.iscoroutinefunction(target):
            args, kwargs = cloudpickle.loads(call.payload)
            return pickled(await target(*args, **kwargs))
        context = contextvars.copy_context()
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, context.run, run_pickled, target, call.payload
        )
        return await work


def run_pickled(target: Target, payload: bytes) -> bytes:
    """Call `target` with the pickled arguments and pickle what it returns."""
    args, kwargs = cloudpickle.loads(payload)
    return pickled(target(*args, **kwargs))


def pickled(value: Any) -> bytes:
    """`value` as cloudpickle bytes. Raises TypeError saying that a result has to be picklable."""
    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        kind = type(value).__name__
        raise TypeError(
            f"the result, of type {kind}, cannot be pickled: {summary(error)}"
        ) from error
    return data


def failure(call: Call, error: Exception) -> CallResult:
    """The result of a call that raised; the text alone where the exception cannot be pickled."""
    try:
        payload = cloudpickle.dumps(error)
    except Exception:
        payload = b""
    return CallResult(
        input=call.input, call_id=call.call_id, ok=False, payload=payload, error=trimmed(error)
    )
