"""What a failed deploy shows, and that it shows it once."""

from __future__ import annotations

import io
from contextlib import suppress

from rich.console import Console

from portico.cli.progress import Progress
from portico.client.errors import DeployError
from portico.wire.api import BuildLog, BuildStarted


def failed(error: DeployError, *lines: str) -> str:
    """The detail that is left to print after `lines` of a build were shown and `error` came."""
    with suppress(DeployError), Progress(Console(file=io.StringIO()), "x") as shown:
        if lines:
            shown.deploy_event(BuildStarted(image_id="im-1"))
        for line in lines:
            shown.deploy_event(BuildLog(image_id="im-1", text=line))
        raise error
    return error.detail


def test_the_end_of_a_log_that_was_shown_is_not_repeated() -> None:
    assert failed(DeployError("no", "two\nthree"), "one", "two", "three") == ""


def test_a_detail_that_was_not_shown_is_kept() -> None:
    assert failed(DeployError("no", "two")) == "two"
    assert failed(DeployError("no", "Traceback"), "one", "two") == "Traceback"
