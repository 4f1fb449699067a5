"""Blocking calls with an awaitable twin: ``f.remote(1)`` and ``await f.remote.aio(1)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


class BoundTwin(Generic[P, R, A]):
    """A blocking call; `aio` is the same call for coroutines."""

    def __init__(self, blocking: Callable[P, R], aio: Callable[P, A]) -> None:
        self._blocking = blocking
        self.aio = aio
        self.__doc__ = blocking.__doc__
        self.__name__ = blocking.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._blocking(*args, **kwargs)


class Twin(Generic[P, R, A]):
    """Descriptor that binds both halves of a blocking method to the object they are looked up on."""

    def __init__(
        self, blocking: Callable[Concatenate[Any, P], R], aio: Callable[Concatenate[Any, P], A]
    ) -> None:
        self._blocking = blocking
        self._aio = aio
        self.__doc__ = blocking.__doc__

    def __get__(self, instance: object, owner: type) -> BoundTwin[P, R, A]:
        return BoundTwin(
            self._blocking.__get__(instance, owner), self._aio.__get__(instance, owner)
        )


class ClassTwin(Generic[P, R, A]):
    """The same for functions that take the class, as class methods do."""

    def __init__(
        self,
        blocking: Callable[Concatenate[Any, P], R],
        aio: Callable[Concatenate[Any, P], A],
    ) -> None:
        self._blocking = blocking
        self._aio = aio
        self.__doc__ = blocking.__doc__

    def __get__(self, instance: object, owner: type) -> BoundTwin[P, R, A]:
        return BoundTwin(self._blocking.__get__(owner), self._aio.__get__(owner))
