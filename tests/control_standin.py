"""A small real HTTP server with the routes of the control API, for the client's and the CLI's tests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
import uvicorn

from portico.wire.api import (
    AppInfo,
    BuildDone,
    BuildLog,
    BuildStarted,
    CallOutcome,
    CallRequest,
    CallStarted,
    ContainerInfo,
    CreateApp,
    CreateProxyToken,
    CreateToken,
    Deployed,
    DeployFailed,
    FunctionHandle,
    FunctionInfo,
    MissingBlobs,
    Problem,
    ProxyTokenInfo,
    PutSecret,
    SecretInfo,
    ServerInfo,
    SessionClosed,
    SessionLog,
    SessionOpened,
    SessionPing,
    TokenInfo,
    VersionInfo,
)
from portico.wire.container import LogLine
from portico.wire.manifest import AppManifest

TOKEN = "stand-in-token"


def log_line(text: str, **changes: Any) -> LogLine:
    fields = {
        "time": 1.0,
        "app_id": "ap-1",
        "container_id": "ta-1",
        "function": "square",
        "stream": "stdout",
        "text": text,
    }
    return LogLine(**{**fields, **changes})


class StandIn:
    """State of the server; tests read it, and set what it shall answer."""

    def __init__(self) -> None:
        self.url = ""
        self.sandbox = "docker"
        self.blobs: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.manifests: list[AppManifest] = []
        self.created: list[CreateApp] = []
        self.stopped: list[str] = []
        self.revoked: list[str] = []
        self.scopes: list[str] = []  # environments in which something was looked for
        self.secrets: dict[str, dict[str, str]] = {}
        self.logs = [log_line("one"), log_line("two", stream="stderr")]
        self.log_queries: list[dict[str, str]] = []
        self.fail_deploys_with: DeployFailed | None = None
        self.cut_deploys = False
        self.call_states: list[str] = []
        self.sessions: dict[str, asyncio.Queue[Any]] = {}
        self.changed = threading.Condition()
        self.loop: asyncio.AbstractEventLoop | None = None

    def wait_for(self, condition: Any, seconds: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, seconds), (
                "the stand-in did not get there in time"
            )

    def note(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def say(self, app_id: str, event: Any) -> None:
        """Send `event` down the app's session, from a test's thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.sessions[app_id].put_nowait, event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        exchange = Exchange(scope, receive, send)
        if exchange.headers.get("authorization") != f"Bearer {TOKEN}":
            await exchange.problem(401, "unknown token")
            return
        parts = [unquote(part) for part in scope["raw_path"].decode().split("/")[2:]]
        await self.route(exchange, f"{scope['method']} {parts[0]}", parts[1:])

    async def route(self, x: Exchange, what: str, rest: list[str]) -> None:
        tail = rest[1] if len(rest) > 1 else ""
        if scope := x.query.get("environment"):
            self.scopes.append(scope)
        if what == "GET server":
            await x.json(self.info())
        elif what == "POST blobs":
            asked = await x.record(MissingBlobs)
            await x.json(MissingBlobs(digests=[d for d in asked.digests if d not in self.blobs]))
        elif what == "PUT blobs":
            body = await x.body()
            if hashlib.sha256(body).hexdigest() != rest[0]:
                await x.problem(422, "the content does not have that digest")
                return
            self.blobs[rest[0]] = body
            self.uploads.append(rest[0])
            await x.empty()
        elif what in ("GET apps", "POST apps"):
            await self.apps(x, what[:4].strip(), rest, tail)
        elif what == "GET containers" and not rest:
            await x.json([container()])
        elif what == "GET containers":
            await x.lines(self.logs)
        elif what == "POST containers":
            self.stopped.append(rest[0])
            await x.empty()
        elif what.endswith("secrets"):
            await self.secret(x, what, rest)
        elif what == "POST tokens":
            name = (await x.record(CreateToken)).name
            await x.json(TokenInfo(id="tk-1", name=name, created_at=1.0, secret="tk-1.shown-once"))
        elif what == "GET tokens":
            await x.json([TokenInfo(id="tk-1", name="laptop", created_at=1.0)])
        elif what == "DELETE tokens":
            await x.empty()
        elif what == "POST proxy-tokens":
            name = (await x.record(CreateProxyToken)).name
            pair = {"key": "wk-1", "secret": "ws-shown-once"}
            await x.json(ProxyTokenInfo(name=name, created_at=1.0, **pair))
        elif what == "GET proxy-tokens":
            await x.json([ProxyTokenInfo(key="wk-1", name="ci", created_at=1.0)])
        elif what == "DELETE proxy-tokens":
            self.revoked.append(rest[0])
            await x.empty()
        elif what == "GET functions":
            spec = self.manifests[-1].functions[0]
            await x.json(FunctionHandle(app_id=rest[0], function_id="fu-1", spec=spec))
        elif what == "POST calls" and rest == ["spawn"]:
            await x.record(CallRequest)
            await x.json(CallStarted(call_id="fc-1"))
        elif what == "POST calls":
            request = await x.record(CallRequest)
            await x.json(CallOutcome(call_id="fc-0", state="done", payload=request.payload))
        elif what == "GET calls":
            state = self.call_states.pop(0) if self.call_states else "done"
            await x.json(CallOutcome(call_id=rest[0], state=state, payload=b"result"))
        elif what == "GET oops":
            await x.problem(500, "it broke")
        else:
            await x.problem(404, f"there is no {what} {'/'.join(rest)}")

    async def apps(self, x: Exchange, method: str, rest: list[str], tail: str) -> None:
        if method == "GET" and not rest:
            await x.json([self.app("ap-1", "hello")] if self.created or self.manifests else [])
        elif method == "POST" and not rest:
            asked = await x.record(CreateApp)
            self.created.append(asked)
            await x.json(self.app(f"ap-{len(self.created)}", asked.name))
        elif rest[0] == "missing":
            await x.problem(404, "there is no app 'missing'")
        elif tail == "versions" or tail == "rollback":
            await self.deploy(x, rest[0], tail)
        elif tail == "session":
            await self.session(x, rest[0])
        elif tail == "stop":
            self.stopped.append(rest[0])
            if rest[0] in self.sessions:
                self.sessions[rest[0]].put_nowait(SessionLog(line=log_line("last words")))
                self.sessions[rest[0]].put_nowait(SessionClosed(reason="stopped by its client"))
            self.note()
            await x.json(self.app(rest[0], "hello"))
        elif tail == "history":
            await x.json([VersionInfo(version=1, created_at=1.0, current=True, functions=1)])
        elif tail == "logs":
            self.log_queries.append(x.query)
            await x.lines(self.logs)
        else:
            await x.json(self.app(rest[0], "hello"))

    async def deploy(self, x: Exchange, app_id: str, tail: str) -> None:
        if tail == "versions":
            self.manifests.append(await x.record(AppManifest))
        built = [
            BuildStarted(image_id="im-1"),
            BuildLog(image_id="im-1", text="Resolved 3 packages"),
        ]
        events: list[Any] = [*built, BuildDone(image_id="im-1", seconds=0.2, cached=False)]
        if self.cut_deploys:
            await x.lines(events, whole=False)
            return
        version = len(self.manifests) if tail == "versions" else int(x.query.get("version", 1))
        manifest = self.manifests[-1] if self.manifests else AppManifest(name="hello")
        events.append(
            self.fail_deploys_with
            or Deployed(
                app_id=app_id, name=manifest.name, version=version, functions=functions(manifest)
            )
        )
        await x.lines(events)
        self.note()

    async def session(self, x: Exchange, app_id: str) -> None:
        events = self.sessions[app_id] = asyncio.Queue()
        await x.start(200, "application/x-ndjson")
        await x.line(SessionOpened(app_id=app_id))
        await x.line(SessionPing())
        gone = asyncio.create_task(x.gone())
        try:
            while True:
                event = asyncio.create_task(events.get())
                await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    break
                if event.result() is None:  # the server dies: no last chunk
                    raise ConnectionResetError
                await x.line(event.result())
                if isinstance(event.result(), SessionClosed):
                    await x.end()
                    break
        finally:
            gone.cancel()
            del self.sessions[app_id]
            self.note()

    async def secret(self, x: Exchange, what: str, rest: list[str]) -> None:
        if what == "GET secrets":
            await x.json([secret_info(name, values) for name, values in self.secrets.items()])
        elif what == "PUT secrets":
            asked = await x.record(PutSecret)
            if rest[0] in self.secrets and not asked.overwrite:
                await x.problem(409, f"secret {rest[0]!r} exists")
                return
            self.secrets[rest[0]] = asked.values
            await x.json(secret_info(rest[0], asked.values))
        elif rest[0] not in self.secrets:
            await x.problem(404, f"there is no secret {rest[0]!r}")
        else:
            del self.secrets[rest[0]]
            await x.empty()

    def info(self) -> ServerInfo:
        return ServerInfo(
            version="0",
            web_url="http://127.0.0.1:1",
            api_url=self.url,
            domain="localhost",
            workspace="me",
            sandbox=self.sandbox,
            pid=os.getpid(),
            embedded=False,
            state_dir="/nowhere",
            started_at=time.time(),
        )

    def app(self, app_id: str, name: str) -> AppInfo:
        return AppInfo(app_id=app_id, name=name, state="deployed", version=1, created_at=1.0)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
        self._receive, self._send = receive, send

    async def body(self) -> bytes:
        body = b""
        while True:
            message = await self._receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body

    async def record(self, kind: Any) -> Any:
        return msgspec.json.decode(await self.body(), type=kind)

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, kind: str = "application/json") -> None:
        headers = [(b"content-type", kind.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def line(self, record: Any) -> None:
        body = msgspec.json.encode(record) + b"\n"
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": body})

    async def lines(self, records: list[Any], *, whole: bool = True) -> None:
        await self.start(200, "application/x-ndjson")
        for record in records:
            await self.line(record)
        if not whole:
            await self._send(
                {"type": "http.response.body", "body": b'{"type": "dep', "more_body": True}
            )
            raise ConnectionResetError("the server dies in the middle of a record")
        await self.end()

    async def json(self, record: Any) -> None:
        await self.start(200)
        await self.end(msgspec.json.encode(record))

    async def empty(self) -> None:
        await self.start(204)
        await self.end()

    async def problem(self, status: int, detail: str) -> None:
        await self.start(status, "application/problem+json")
        await self.end(msgspec.json.encode(Problem(title="Problem", status=status, detail=detail)))


def functions(manifest: AppManifest) -> list[FunctionInfo]:
    return [
        FunctionInfo(
            name=spec.public_name(method),
            id="fu-1",
            kind=method.web.kind if method.web else "function",
            urls=[f"http://me--{spec.name}.localhost:1"] if method.web else [],
        )
        for spec in manifest.functions
        for method in spec.methods
    ]


def container() -> ContainerInfo:
    return ContainerInfo(
        container_id="ta-1",
        app_id="ap-1",
        app="hello",
        function="square",
        state="ready",
        started_at=1.0,
        running=0,
    )


def secret_info(name: str, values: dict[str, str]) -> SecretInfo:
    return SecretInfo(id="st-1", name=name, keys=sorted(values), created_at=1.0, updated_at=1.0)


@contextmanager
def stand_in_server() -> Iterator[StandIn]:
    """A stand-in on a free port, served by uvicorn on a thread."""
    state = StandIn()
    config = uvicorn.Config(
        state, port=0, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    ready = threading.Event()

    async def serve() -> None:
        listening = config.bind_socket()
        state.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        state.loop = asyncio.get_running_loop()
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield state
    finally:
        server.should_exit = True
        thread.join(20)
