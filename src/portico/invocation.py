"""Calling what runs elsewhere: the methods that `Function` and the methods of a `Cls` share."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from portico.calls import FunctionCall, encode_arguments, value_of
from portico.exception import Error, InvalidError
from portico.origins import Located, Origin, find_method
from portico.parameter import Value, checked_values, to_wire
from portico.twins import Twin

if TYPE_CHECKING:
    from portico.wire.api import CallRequest

P = ParamSpec("P")
R = TypeVar("R")

MAX_IN_FLIGHT = 100  # calls of one map that are spawned and not yet collected


class Invocable(Generic[P, R]):
    """Something clients call. `method` is empty for a plain function; `parameters` choose a class's pool."""

    def __init__(
        self,
        origin: Origin,
        method: str = "",
        parameters: Callable[[], Mapping[str, Value]] = dict,
    ) -> None:
        self._origin = origin
        self._method = method
        self._parameters = parameters

    def _remote(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run on the server and return the result; raises the function's own exception."""
        from portico.client import default

        request = self._request(self._origin.locate(default, self._suits), args, kwargs)
        return value_of(default().call(request))  # type: ignore[no-any-return]

    async def _remote_aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        from portico.client import default

        request = self._request(await self._origin.locate_aio(default, self._suits), args, kwargs)
        return value_of(await default().aio.call(request))  # type: ignore[no-any-return]

    def _spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Start a call and return at once; ``.get()`` of what it returns waits for the result."""
        from portico.client import default

        request = self._request(self._origin.locate(default, self._suits), args, kwargs)
        return FunctionCall(default().spawn(request))

    async def _spawn_aio(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from portico.client import default

        request = self._request(await self._origin.locate_aio(default, self._suits), args, kwargs)
        return FunctionCall(await default().aio.spawn(request))

    def _starmap(
        self,
        inputs: Iterable[Iterable[Any]],
        *,
        kwargs: Mapping[str, Any] | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        """Call with each element of `inputs` as the arguments; yields results in the order of the inputs.

        At most 100 calls are in flight, and `inputs` is read no further than that. With `return_exceptions` the
        exceptions of failed calls are yielded in their place.
        """
        waiting: deque[FunctionCall[R]] = deque()
        for args in inputs:
            waiting.append(self._spawn(*args, **(kwargs or {})))
            if len(waiting) == MAX_IN_FLIGHT:
                yield self._collect(waiting.popleft(), return_exceptions)
        while waiting:
            yield self._collect(waiting.popleft(), return_exceptions)

    async def _starmap_aio(
        self,
        inputs: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        kwargs: Mapping[str, Any] | None = None,
        return_exceptions: bool = False,
    ) -> AsyncIterator[R]:
        waiting: deque[FunctionCall[R]] = deque()
        async for args in _asynchronous(inputs):
            waiting.append(await self._spawn_aio(*args, **(kwargs or {})))
            if len(waiting) == MAX_IN_FLIGHT:
                yield await self._collect_aio(waiting.popleft(), return_exceptions)
        while waiting:
            yield await self._collect_aio(waiting.popleft(), return_exceptions)

    def _map(
        self,
        *inputs: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        """Call with one element of each of `inputs` at a time; results as those of `starmap`."""
        return self._starmap(
            zip(*inputs, strict=False), kwargs=kwargs, return_exceptions=return_exceptions
        )

    def _map_aio(
        self,
        *inputs: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        return_exceptions: bool = False,
    ) -> AsyncIterator[R]:
        return self._starmap_aio(
            _zipped(inputs), kwargs=kwargs, return_exceptions=return_exceptions
        )

    def _for_each(
        self,
        *inputs: Iterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        """Like `map`, for what the function does rather than what it returns."""
        for _ in self._map(*inputs, kwargs=kwargs, return_exceptions=ignore_exceptions):
            pass

    async def _for_each_aio(
        self,
        *inputs: Iterable[Any] | AsyncIterable[Any],
        kwargs: Mapping[str, Any] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        async for _ in self._map_aio(*inputs, kwargs=kwargs, return_exceptions=ignore_exceptions):
            pass

    def _get_web_url(self) -> str | None:
        """The URL of a web function, None for any other."""
        from portico.client import default

        return self._url(self._origin.locate(default, self._suits))

    async def _get_web_url_aio(self) -> str | None:
        from portico.client import default

        return self._url(await self._origin.locate_aio(default, self._suits))

    remote = Twin(_remote, _remote_aio)
    spawn = Twin(_spawn, _spawn_aio)
    map = Twin(_map, _map_aio)
    starmap = Twin(_starmap, _starmap_aio)
    for_each = Twin(_for_each, _for_each_aio)
    get_web_url = Twin(_get_web_url, _get_web_url_aio)

    @property
    def web_url(self) -> str | None:
        """The URL of a web function, None for any other."""
        return self._get_web_url()

    def _suits(self, located: Located) -> bool:
        try:
            find_method(located, self._method)
            checked_values(located.function, located.parameters, self._parameters())
        except Error:
            return False
        return True

    def _url(self, located: Located) -> str | None:
        method = find_method(located, self._method)
        public = f"{located.function}.{method.name}" if method.name else located.function
        urls = located.urls.get(public) if method.web else None
        return urls[0] if urls else None

    def _request(
        self, located: Located, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallRequest:
        from portico.wire.api import CallRequest

        method = find_method(located, self._method)
        name = f"{located.function}.{method.name}" if method.name else located.function
        if method.web is not None:
            url = self._url(located)
            raise InvalidError(
                f"{name} is a web function: send HTTP requests to {url or 'its URL'}"
            )
        if method.is_generator:
            raise InvalidError(
                f"{name} is a generator; return a list to call it with .remote() or .spawn()"
            )
        parameters = self._parameters()
        # Completed by the server, whose defaults are those of the version that runs.
        checked_values(located.function, located.parameters, parameters)
        return CallRequest(
            app_id=located.app_id,
            function=located.function,
            method=method.name,
            parameters={name: to_wire(value) for name, value in parameters.items()},
            payload=encode_arguments(args, kwargs),
        )

    def _collect(self, call: FunctionCall[R], return_exceptions: bool) -> Any:
        try:
            return call.get()
        except Exception as error:
            if not return_exceptions:
                raise
            return error

    async def _collect_aio(self, call: FunctionCall[R], return_exceptions: bool) -> Any:
        try:
            return await call.get.aio()
        except Exception as error:
            if not return_exceptions:
                raise
            return error


async def _asynchronous(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item


async def _zipped(
    inputs: tuple[Iterable[Any] | AsyncIterable[Any], ...],
) -> AsyncIterator[tuple[Any, ...]]:
    iterators = [_asynchronous(one) for one in inputs]
    with suppress(StopAsyncIteration):
        while iterators:
            yield tuple([await anext(iterator) for iterator in iterators])
