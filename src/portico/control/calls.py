"""Function calls: run on the app's containers, waited for or spawned with the outcome kept in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from portico.control.catalog import Catalog
from portico.control.errors import BusyError, InvalidParameterError, NotFoundError
from portico.control.runtime import ActivationError, Runtime
from portico.pools.errors import BadParameter, QueueFull
from portico.pools.parameters import Parameters
from portico.wire.api import CallOutcome, CallRequest, CallStarted
from portico.wire.container import CallResult
from portico.wire.ids import new_id

logger = logging.getLogger(__name__)

MAX_RUNNING = 10_000
MAX_KEPT = 10_000  # outcomes
MAX_KEPT_BYTES = 256 << 20


class Calls:
    """Runs calls. Outcomes of spawned ones are kept until `MAX_KEPT` newer ones have come."""

    def __init__(self, catalog: Catalog, runtime: Runtime) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._running: dict[str, asyncio.Task[CallOutcome]] = {}
        self._kept: OrderedDict[str, CallOutcome] = OrderedDict()
        self._kept_bytes = 0

    async def call(self, request: CallRequest) -> CallOutcome:
        """Run a call and wait for its outcome. Raises `NotFoundError`, `InvalidParameterError`, `BusyError`."""
        await self._check(request)
        try:
            return await self._run(new_id("fc"), request)
        except QueueFull as error:
            raise BusyError(str(error), error.retry_after) from None

    async def spawn(self, request: CallRequest) -> CallStarted:
        """Begin a call and return at once. Raises `NotFoundError`, `InvalidParameterError`, `BusyError`."""
        await self._check(request)
        if len(self._running) >= MAX_RUNNING:
            raise BusyError(f"{MAX_RUNNING} spawned calls are running: wait for some of them")
        call_id = new_id("fc")
        task = asyncio.create_task(self._run_spawned(call_id, request))
        self._running[call_id] = task
        task.add_done_callback(lambda done: self._finished(call_id, done))
        return CallStarted(call_id=call_id)

    async def outcome(self, call_id: str, timeout: float) -> CallOutcome:
        """Where a spawned call stands, after at most `timeout` seconds of waiting for it."""
        task = self._running.get(call_id)
        if task is not None:
            await asyncio.wait([task], timeout=timeout)
            if not task.done():
                return CallOutcome(call_id=call_id, state="pending")
            return await task
        outcome = self._kept.get(call_id)
        if outcome is None:
            raise NotFoundError(f"there is no call {call_id!r}, or its result is no longer kept")
        return outcome

    async def close(self) -> None:
        """Cancel spawned calls."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check(self, request: CallRequest) -> None:
        handle = await self._catalog.function(request.app_id, request.function)
        if request.method not in {method.name for method in handle.spec.methods}:
            raise NotFoundError(f"{request.function!r} has no method {request.method!r}")
        try:
            Parameters(handle.spec.parameters).from_values(request.parameters)
        except BadParameter as error:
            raise InvalidParameterError(f"{request.function}: {error}") from None
        wait = self._runtime.admit_call()
        if wait:
            raise BusyError("the workspace's rate limit is reached", wait)

    async def _run_spawned(self, call_id: str, request: CallRequest) -> CallOutcome:
        try:
            return await self._run(call_id, request)
        except QueueFull as error:
            return CallOutcome(call_id=call_id, state="failed", error=str(error))

    async def _run(self, call_id: str, request: CallRequest) -> CallOutcome:
        try:
            result = await self._runtime.call(
                request.app_id,
                request.function,
                request.method,
                request.parameters,
                call_id,
                request.payload,
            )
        except ActivationError as error:
            text = f"{error.message}\n{error.detail}" if error.detail else error.message
            return CallOutcome(call_id=call_id, state="failed", error=text)
        except KeyError:
            text = f"{request.function} went away before the call could run"
            return CallOutcome(call_id=call_id, state="failed", error=text)
        return _outcome(call_id, result)

    def _finished(self, call_id: str, task: asyncio.Task[CallOutcome]) -> None:
        del self._running[call_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            logger.error("call %s failed in the server", call_id, exc_info=error)
            outcome = CallOutcome(call_id=call_id, state="failed", error="the server failed")
        else:
            outcome = task.result()
        self._keep(call_id, outcome)

    def _keep(self, call_id: str, outcome: CallOutcome) -> None:
        self._kept[call_id] = outcome
        self._kept_bytes += len(outcome.payload)
        while len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped.payload)


def _outcome(call_id: str, result: CallResult) -> CallOutcome:
    return CallOutcome(
        call_id=call_id,
        state="done" if result.ok else "failed",
        payload=result.payload,
        error=result.error,
    )
