"""An ephemeral app for the time of a block."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from portico.exception import InvalidError
from portico.names import environment_or_default

if TYPE_CHECKING:
    from portico.app import App
    from portico.wire.api import DeployEvent
    from portico.wire.container import LogLine

OnEvent = Optional["Callable[[DeployEvent], None]"]
OnLog = Optional["Callable[[LogLine], None]"]


class AppRun:
    """``with app.run():`` and ``async with app.run():``; what is entered is the app."""

    def __init__(
        self, app: App, *, environment: str | None, on_event: OnEvent, on_log: OnLog
    ) -> None:
        self._app = app
        self._environment = environment
        self._on_event = on_event
        self._on_log = on_log
        self._session: AbstractContextManager[Any] | AbstractAsyncContextManager[Any] | None = None

    def __enter__(self) -> App:
        from portico.client import default

        session = default().ephemeral(*self._manifest(), **self._options())
        running = session.__enter__()
        self._session = session
        self._app.running, self._app.app_id = running, running.app_id
        return self._app

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        self._app.running = None
        assert isinstance(session, AbstractContextManager)
        session.__exit__(kind, error, traceback)

    async def __aenter__(self) -> App:
        from portico.client import default

        session = default().aio.ephemeral(*self._manifest(), **self._options())
        running = await session.__aenter__()
        self._session = session
        self._app.running, self._app.app_id = running, running.app_id
        return self._app

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        self._app.running = None
        assert isinstance(session, AbstractAsyncContextManager)
        await session.__aexit__(kind, error, traceback)

    def _manifest(self) -> Any:
        from portico.manifest import build_manifest

        if self._app.running is not None:
            raise InvalidError(
                f"{self._app!r} runs already; leave the first `with app.run():` before"
            )
        return build_manifest(self._app)

    def _options(self) -> dict[str, Any]:
        return {
            "environment": environment_or_default(self._environment),
            "on_event": self._on_event,
            "on_log": self._on_log,
        }
