"""Function calls: arguments out, outcomes back, and `FunctionCall` for what was spawned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from portico.checks import text
from portico.exception import (
    DeserializationError,
    InvalidError,
    RemoteError,
    TimeoutError,
)
from portico.pickling import dumps, loads
from portico.twins import ClassTwin, Twin

if TYPE_CHECKING:
    from portico.wire.api import CallOutcome

R = TypeVar("R")


class RemoteTraceback(Exception):
    """Cause of an exception that came from a container: its ``str`` is the traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Arguments as they travel. Raises `SerializationError`."""
    return dumps((args, kwargs), "the arguments")


def value_of(outcome: CallOutcome) -> Any:
    """The value of a finished call; raises the exception of a failed one, with the remote traceback as its cause."""
    if outcome.state == "pending":
        raise TimeoutError(f"call {outcome.call_id} has no result yet")
    if outcome.state == "failed":
        raise _exception_of(outcome)
    return loads(outcome.payload, f"the result of {outcome.call_id}")


def _exception_of(outcome: CallOutcome) -> BaseException:
    text = outcome.error or "the call failed without saying why; see the app's logs"
    if not outcome.payload:
        return RemoteError(text)
    try:
        error = loads(outcome.payload, "the exception")
    except DeserializationError:
        return RemoteError(text)
    if not isinstance(error, BaseException):
        return RemoteError(text)
    error.__cause__ = RemoteTraceback(text)
    return error


def _gather(owner: type[FunctionCall[Any]], /, *calls: FunctionCall[Any]) -> list[Any]:
    """Results of all `calls`, in their order; raises the exception of the first of them that failed."""
    return [call.get() for call in calls]


async def _gather_aio(owner: type[FunctionCall[Any]], /, *calls: FunctionCall[Any]) -> list[Any]:
    import asyncio

    return list(await asyncio.gather(*(call.get.aio() for call in calls)))


class FunctionCall(Generic[R]):
    """A call that was spawned; its id finds it again from any other program."""

    def __init__(self, object_id: str) -> None:
        self.object_id = object_id

    @classmethod
    def from_id(cls, function_call_id: str) -> FunctionCall[Any]:
        """The call of that id (``fc-…``); whether it exists shows when it is used."""
        if not text("a call's id", function_call_id).startswith("fc-"):
            raise InvalidError(f"{function_call_id!r} is no call id; those begin with 'fc-'")
        return FunctionCall(function_call_id)

    def _get(self, timeout: float | None = None) -> R:
        """The call's result, waiting for it up to `timeout` seconds (None: as long as it takes).

        Raises the call's own exception, or `TimeoutError` where the wait is over first.
        """
        from portico.client import default

        return value_of(default().call_result(self.object_id, timeout))  # type: ignore[no-any-return]

    async def _get_aio(self, timeout: float | None = None) -> R:
        from portico.client import default

        outcome = await default().aio.call_result(self.object_id, timeout)
        return value_of(outcome)  # type: ignore[no-any-return]

    get = Twin(_get, _get_aio)
    gather = ClassTwin(_gather, _gather_aio)

    def __repr__(self) -> str:
        return f"FunctionCall.from_id({self.object_id!r})"
