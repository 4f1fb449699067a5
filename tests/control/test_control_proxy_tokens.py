from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import msgspec
import pytest
from control_server import Server, decode, eventually, running

from portico.control.errors import StoreError
from portico.wire.api import CreateProxyToken, ProxyTokenInfo


def create(server: Server, name: str = "") -> ProxyTokenInfo:
    body = msgspec.json.encode(CreateProxyToken(name=name))
    return decode(server.http.post("/v1/proxy-tokens", content=body), ProxyTokenInfo)


def test_a_proxy_token_is_admitted_until_it_is_revoked(server: Server) -> None:
    made = create(server, "ci")
    assert made.key.startswith("wk-")
    assert made.secret is not None
    assert made.secret.startswith("ws-")
    assert server.gate.digests == {made.key: hashlib.sha256(made.secret.encode()).digest()}
    listed = server.http.get("/v1/proxy-tokens")
    assert [(t.key, t.name) for t in decode(listed, list[ProxyTokenInfo])] == [(made.key, "ci")]
    assert made.secret not in listed.text
    assert server.http.delete(f"/v1/proxy-tokens/{made.key}").status_code == 204
    assert server.gate.digests == {}
    again = server.http.delete(f"/v1/proxy-tokens/{made.key}")
    assert again.status_code == 404
    assert "portico proxy-token list" in again.json()["detail"]


def test_secrets_of_proxy_tokens_are_not_kept(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        made = create(server)
    assert made.secret is not None
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert made.key.encode() in kept
    assert made.secret.encode() not in kept
    assert hashlib.sha256(made.secret.encode()).digest() in kept


def test_a_restarted_server_admits_what_is_stored(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        kept, gone = create(server), create(server)
        server.http.delete(f"/v1/proxy-tokens/{gone.key}")
    with running(tmp_path) as server:
        assert list(server.gate.digests) == [kept.key]


def test_too_long_a_name_is_refused(server: Server) -> None:
    body = msgspec.json.encode(CreateProxyToken(name="x" * 65))
    assert server.http.post("/v1/proxy-tokens", content=body).status_code == 400
    assert server.gate.digests == {}


def test_what_is_not_stored_is_not_admitted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create(server)

    async def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as fault:
        fault.setattr(server.control._store.proxy_tokens, "add", full)
        assert server.http.post("/v1/proxy-tokens", content=b"{}").status_code == 503
    assert list(server.gate.digests) == [made.key]


def test_an_embedded_server_follows_the_one_beside_it(tmp_path: Path) -> None:
    with running(tmp_path) as server, running(tmp_path, embedded=True) as embedded:
        first, second = create(server), create(server)
        eventually(lambda: set(embedded.gate.digests) == {first.key, second.key})
        server.http.delete(f"/v1/proxy-tokens/{first.key}")
        eventually(lambda: list(embedded.gate.digests) == [second.key])
        assert server.gate.replaced == 1  # nothing looks again and again in a server of its own


def test_an_embedded_server_goes_on_following_after_a_look_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    async def locked() -> None:
        failed.set()
        raise StoreError("another process has held the database")

    with running(tmp_path) as server, running(tmp_path, embedded=True) as embedded:
        with monkeypatch.context() as fault:
            fault.setattr(embedded.control._store.proxy_tokens, "all", locked)
            assert failed.wait(10)
        made = create(server)
        eventually(lambda: list(embedded.gate.digests) == [made.key])
