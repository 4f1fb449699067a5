from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from control_standin import TOKEN, StandIn
from portico import exception
from portico.client import AsyncClient, Client, DeployError
from portico.wire.api import BuildLog, CallRequest, DeployEvent, DeployFailed
from portico.wire.manifest import AppManifest, FunctionSpec, MethodSpec


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(name: str = "hello") -> AppManifest:
    return AppManifest(name=name)


@pytest.fixture
def client(server: StandIn):
    with Client(server.url, TOKEN) as client:
        yield client


def test_a_wrong_token_says_how_to_get_one(server: StandIn) -> None:
    with Client(server.url, "wrong") as client, pytest.raises(exception.AuthError) as caught:
        client.server()
    assert "portico token create" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_nobody_at_the_address_says_how_to_start_a_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Client(url, TOKEN) as client, pytest.raises(exception.ConnectionError) as caught:
            client.server()
    assert url in str(caught.value)
    assert "portico server start" in str(caught.value)


def test_an_unknown_app_is_not_found_in_the_servers_words(client: Client) -> None:
    with pytest.raises(exception.NotFoundError, match="there is no app 'missing'"):
        client.lookup_app("missing")


def test_an_answer_that_is_no_control_api_is_named_as_such(server: StandIn) -> None:
    async def html(x, what, rest):
        await x.start(200, "text/html")
        await x.end(b"<html>")

    server.route = html
    with (
        Client(server.url, TOKEN) as client,
        pytest.raises(exception.ConnectionError, match="not a"),
    ):
        client.server()


def test_an_existing_secret_is_replaced_only_when_told(client: Client, server: StandIn) -> None:
    client.put_secret("db", {"URL": "one"})
    with pytest.raises(exception.AlreadyExistsError, match="exists"):
        client.put_secret("db", {"URL": "two"})
    client.put_secret("db", {"URL": "two"}, overwrite=True)
    assert server.secrets["db"] == {"URL": "two"}
    assert client.secrets()[0].keys == ["URL"]
    client.delete_secret("db")
    assert client.secrets() == []


def test_proxy_tokens_are_made_listed_and_revoked(client: Client, server: StandIn) -> None:
    made = client.create_proxy_token("ci")
    assert (made.key, made.secret, made.name) == ("wk-1", "ws-shown-once", "ci")
    assert [(token.key, token.secret) for token in client.proxy_tokens()] == [("wk-1", None)]
    client.revoke_proxy_token("wk-1")
    assert server.revoked == ["wk-1"]


def test_names_stay_one_path_segment(client: Client, server: StandIn) -> None:
    client.put_secret("a b?c", {"K": "v"})
    assert list(server.secrets) == ["a b?c"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_what_is_no_path_segment_is_no_name(client: Client, server: StandIn, name: str) -> None:
    with pytest.raises(exception.InvalidError, match="is no name"):
        client.put_secret(name, {"K": "v"})
    assert not server.secrets


def test_deploy_uploads_only_missing_blobs_from_files_and_memory(
    client: Client, server: StandIn, tmp_path: Path
) -> None:
    large = b"x" * (3 << 20)
    path = tmp_path / "large.bin"
    path.write_bytes(large)
    server.blobs[digest(b"known")] = b"known"
    blobs = {digest(large): path, digest(b"known"): b"known", digest(b"new"): b"new"}
    events: list[DeployEvent] = []
    deployed = client.deploy(manifest(), blobs, name="renamed", on_event=events.append)
    assert sorted(server.uploads) == sorted([digest(large), digest(b"new")])
    assert server.blobs[digest(large)] == large
    assert deployed.name == server.manifests[-1].name == "renamed"
    assert [event.text for event in events if isinstance(event, BuildLog)] == [
        "Resolved 3 packages"
    ]


def test_many_blobs_all_arrive(client: Client, server: StandIn) -> None:
    contents = [f"file {n}".encode() for n in range(200)]
    client.upload({digest(content): content for content in contents})
    assert len(server.blobs) == 200


def test_a_file_that_changed_since_the_manifest_is_named(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("later")
    with pytest.raises(exception.InvalidError, match=r"data\.txt changed"):
        client.deploy(manifest(), {digest(b"before"): path})


def test_a_file_that_is_gone_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(exception.InvalidError, match=r"gone\.txt"):
        client.deploy(manifest(), {digest(b"x"): tmp_path / "gone.txt"})


def test_a_failed_deploy_carries_the_servers_detail(client: Client, server: StandIn) -> None:
    server.fail_deploys_with = DeployFailed(
        message="the image does not build", detail="pip says no"
    )
    with pytest.raises(DeployError, match="does not build") as caught:
        client.deploy(manifest(), {})
    assert caught.value.detail == "pip says no"
    assert isinstance(caught.value, exception.RemoteError)


def test_a_server_that_dies_inside_a_deploy_is_a_lost_connection(
    client: Client, server: StandIn
) -> None:
    server.cut_deploys = True
    with pytest.raises(exception.ConnectionError, match="lost"):
        client.deploy(manifest(), {})


def test_calls_carry_their_payload_both_ways(client: Client) -> None:
    request = CallRequest(app_id="ap-1", function="f", payload=b"\x00\xffpickle")
    assert client.call(request).payload == b"\x00\xffpickle"
    assert client.spawn(request) == "fc-1"


def test_a_result_without_a_bound_is_polled_until_it_is_there(
    client: Client, server: StandIn
) -> None:
    server.call_states = ["pending", "pending"]
    assert client.call_result("fc-1").state == "done"
    assert server.call_states == []


def test_a_result_that_does_not_come_in_time_is_pending(client: Client, server: StandIn) -> None:
    server.call_states = ["pending"]
    assert client.call_result("fc-1", timeout=0).state == "pending"


def test_the_environment_goes_with_every_name(client: Client, server: StandIn) -> None:
    spec = FunctionSpec(name="f", module="m", qualname="f", image="i", methods=(MethodSpec(),))
    client.deploy(AppManifest(name="hello", functions=(spec,)), {}, environment="dev")
    with client.ephemeral(manifest(), {}, environment="dev"):
        pass
    assert [made.environment for made in server.created] == ["dev", "dev"]
    server.scopes.clear()
    client.apps(environment="dev")
    client.lookup_app("hello", environment="dev")
    client.app_history("hello", environment="dev")
    client.rollback("hello", environment="dev")
    client.stop_app("hello", environment="dev")
    list(client.app_logs("hello", environment="dev"))
    client.containers("hello", environment="dev")
    server.manifests.pop()  # the last one has no function to be found
    client.lookup_function("hello", "f", environment="dev")
    assert server.scopes == ["dev"] * 8


def test_logs_are_an_iterator_that_can_be_left_early(client: Client, server: StandIn) -> None:
    lines = client.app_logs("hello", tail=5, since=2.5, container="ta-1", follow=True)
    assert next(lines).text == "one"
    lines.close()
    (query,) = server.log_queries
    assert query.pop("environment") == "main"
    assert query == {"tail": "5", "since": "2.5", "container": "ta-1", "follow": "1"}
    assert [line.text for line in client.app_logs("hello")] == ["one", "two"]


def test_every_coroutine_has_a_blocking_twin_with_the_same_parameters() -> None:
    for name, method in inspect.getmembers(AsyncClient, inspect.isfunction):
        if name.startswith("_"):
            continue
        twin = getattr(Client, name)
        parameters = list(inspect.signature(method).parameters.values())
        assert list(inspect.signature(twin).parameters.values()) == parameters, name


def test_a_forked_child_uses_connections_of_its_own(client: Client, server: StandIn) -> None:
    assert client.server().pid == os.getpid()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.server().pid == os.getppid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.server().pid == os.getpid()


def test_a_client_works_again_after_close(client: Client) -> None:
    client.server()
    client.close()
    assert client.server().workspace == "me"


def test_the_async_client_serves_one_event_loop_after_another(server: StandIn) -> None:
    client = AsyncClient(server.url, TOKEN)

    async def ask() -> str:
        async with client:
            return (await client.server()).workspace

    assert [asyncio.run(ask()), asyncio.run(ask())] == ["me", "me"]


def test_a_proxy_setting_does_not_hide_a_loopback_server(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with Client(server.url, TOKEN) as client:
        assert client.server().workspace == "me"


def test_importing_the_client_loads_no_http_stack() -> None:
    code = "import sys, portico.client; print([m for m in ('httpx', 'asyncio', 'ssl') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
