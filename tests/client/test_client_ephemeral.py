from __future__ import annotations

import asyncio
import threading

import pytest

from control_standin import TOKEN, StandIn, log_line
from portico import exception
from portico.client import AsyncClient, Client, DeployError
from portico.wire.api import DeployFailed, SessionClosed, SessionLog
from portico.wire.manifest import AppManifest

HELLO = AppManifest(name="hello")


def test_the_app_lives_as_long_as_the_context(server: StandIn) -> None:
    heard: list[str] = []
    spoke = threading.Event()

    def on_log(line) -> None:
        heard.append(line.text)
        spoke.set()

    with Client(server.url, TOKEN) as client:
        with client.ephemeral(HELLO, {}, on_log=on_log) as app:
            assert server.created[0].ephemeral
            assert list(server.sessions) == [app.app_id]
            server.say(app.app_id, SessionLog(line=log_line("hello")))
            assert spoke.wait(20)
            assert app.update(HELLO, {}).version == 2
        assert server.stopped == [app.app_id]
        server.wait_for(lambda: not server.sessions)
    assert heard == ["hello", "last words"]


def test_a_client_that_vanishes_closes_the_session(server: StandIn) -> None:
    async def vanish() -> None:
        async with AsyncClient(server.url, TOKEN) as client, client.ephemeral(HELLO, {}):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(vanish())
    server.wait_for(lambda: not server.sessions)


def test_a_first_version_that_fails_leaves_no_app(server: StandIn) -> None:
    server.fail_deploys_with = DeployFailed(message="no")
    with Client(server.url, TOKEN) as client:
        with pytest.raises(DeployError), client.ephemeral(HELLO, {}):
            pytest.fail("the app must not run")
        assert server.stopped == ["ap-1"]
        server.wait_for(lambda: not server.sessions)


def test_a_failed_update_leaves_the_app_running(server: StandIn) -> None:
    with Client(server.url, TOKEN) as client, client.ephemeral(HELLO, {}) as app:
        server.fail_deploys_with = DeployFailed(message="no")
        with pytest.raises(DeployError):
            app.update(HELLO, {})
        assert server.stopped == []
        server.fail_deploys_with = None
        assert app.update(HELLO, {}).version == 3


def test_an_app_stopped_from_elsewhere_ends_with_the_reason(server: StandIn) -> None:
    with Client(server.url, TOKEN) as client:
        with client.ephemeral(HELLO, {}) as app:
            server.say(app.app_id, SessionClosed(reason="a newer run took over"))
            assert app.ended() == "a newer run took over"
        assert server.stopped == [], "an app that has ended is not stopped again"


def test_a_server_that_dies_under_the_session_is_a_lost_connection(server: StandIn) -> None:
    with Client(server.url, TOKEN) as client, client.ephemeral(HELLO, {}) as app:
        server.say(app.app_id, None)
        with pytest.raises(exception.ConnectionError, match="lost"):
            app.ended()
