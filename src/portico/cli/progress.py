"""Showing what takes its time: a spinner on a terminal, lines in a pipe."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from portico.client.errors import DeployError
from portico.wire.api import BuildDone, BuildLog, BuildStarted, DeployEvent, Warned


class Progress:
    """The phase a command is in; a context manager that leaves no spinner behind."""

    def __init__(self, console: Console, phase: str) -> None:
        self._console = console
        self._phase = phase
        self._building: dict[str, list[str]] = {}
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status = self._console.status(Text(self._phase))
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()
        if isinstance(error, DeployError) and self._showed(error.detail):
            error.detail = ""

    def phase(self, text: str) -> None:
        """Say what happens now; only a spinner shows it."""
        self._phase = text
        self._show(text)

    def deploy_event(self, event: DeployEvent) -> None:
        """Show one event of a deploy."""
        if isinstance(event, BuildStarted):
            self._building[event.image_id] = []
            self._console.print(f"Building image {event.image_id}")
            self._show(f"Building image {event.image_id}")
        elif isinstance(event, BuildLog):
            self._building.setdefault(event.image_id, []).append(event.text)
            self._console.print(Text(f"  {event.text}", style="dim"), soft_wrap=True)
        elif isinstance(event, BuildDone):
            if event.image_id in self._building:
                del self._building[event.image_id]
                self._console.print(f"Built image {event.image_id} in {event.seconds:.1f} s")
            if not self._building:
                self._show("Starting containers")
        elif isinstance(event, Warned):
            self._console.print(Text(f"warning: {event.message}", style="yellow"))

    def _showed(self, detail: str) -> bool:
        """Whether `detail` is the end of a build's log, every line of which is on the screen already."""
        return any("\n".join(lines).endswith(detail) for lines in self._building.values())

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(Text(text))
