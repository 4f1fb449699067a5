"""Objects of an app's classes that are used on the user's own machine."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from portico.lifecycle import hooks
from portico.partial_function import declared_in


class LocalObject:
    """An instance that is made, and entered, when it is first used. Exit hooks are the containers' business."""

    def __init__(self, user_class: type, make: Callable[[], Any]) -> None:
        self.declared = declared_in(user_class)
        self._user_class = user_class
        self._make = make
        self._lock = threading.RLock()
        self._instance: Any = None
        self._entered = False

    def instance(self) -> Any:
        """The instance, entered. Raises `InvalidError` inside an event loop where a hook is ``async``."""
        with self._lock:
            if self._entered:
                return self._instance
            instance = self._made()
            for hook in self._hooks():
                outcome = hook(instance)
                if inspect.isawaitable(outcome):
                    _finish(outcome)
            self._entered = True
            return instance

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the method `name`. A coroutine method returns an awaitable that runs the hooks in its own loop."""
        raw = self.declared[name].raw
        if inspect.iscoroutinefunction(inspect.unwrap(raw)):
            return self._call_async(raw, args, kwargs)
        return raw(self.instance(), *args, **kwargs)

    async def _call_async(self, raw: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._entered:
            # Set first: a second call in the same loop must not run the hooks again.
            self._entered = True
            instance = self._made()
            for hook in self._hooks():
                outcome = hook(instance)
                if inspect.isawaitable(outcome):
                    await outcome
        return await raw(self._instance, *args, **kwargs)

    def _made(self) -> Any:
        if self._instance is None:
            self._instance = self._make()
        return self._instance

    def _hooks(self) -> list[Callable[..., Any]]:
        found = hooks(self._user_class)
        return [*found.enter_snap, *found.enter]


def _finish(outcome: Any) -> None:
    import asyncio

    async def wait() -> None:
        await outcome

    asyncio.run(wait())
