"""HTTP to the control API: one request, one decoded answer or stream of records."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from portico import exception
from portico.client.errors import cut_off, error_for, garbled, unreachable

if TYPE_CHECKING:
    import ssl

    import httpx

T = TypeVar("T")
Params = Mapping[str, "str | int | float | None"]

CONNECT_TIMEOUT = 5.0  # seconds
ANSWER_TIMEOUT = 60.0  # seconds of silence before an ordinary answer
CA_FILE = "PORTICO_CA_FILE"  # variable: authorities that the server's certificate may be from
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def import_httpx() -> Any:
    """The module httpx, without its command line.

    It imports that, with Rich and Pygments, wherever those are installed: a good third of its import, which
    every command would wait for. It does without where the import fails.
    """
    if "httpx" not in sys.modules:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("httpx")
        finally:
            del sys.modules["httpx._main"]
    return sys.modules["httpx"]


class LineSplitter:
    """Cuts a byte stream into lines; keeps what is incomplete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add `data` and return the lines that are now whole, without empty ones."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for line in lines if line.strip()]


class Transport:
    """Connections to one server. Serves one event loop at a time, and starts anew after a fork."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http: httpx.AsyncClient | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None

    async def request(
        self,
        method: str,
        path: str,
        answer: msgspec.json.Decoder[T],
        *,
        params: Params | None = None,
        record: msgspec.Struct | None = None,
        timeout: float | None = ANSWER_TIMEOUT,
        patient: bool = False,
    ) -> T:
        """Send `record` as JSON and decode the answer. `timeout` and `patient` are as in `send`."""
        body = msgspec.json.encode(record) if record is not None else b""
        content = await self.send(
            method, path, params=params, content=body, timeout=timeout, patient=patient
        )
        try:
            return answer.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise garbled(self.url, error) from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        content: bytes | AsyncIterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = ANSWER_TIMEOUT,
        patient: bool = False,
    ) -> bytes:
        """Send `content` and return the answer's body. Raises what `error_for` makes of an error.

        `timeout` is in seconds, None for no bound. Where the server has no room for it now (429), a `patient`
        request waits as long as the server says and is sent again; so its content is bytes.
        """
        while True:
            response = await self._answer(method, path, params, content, headers, timeout)
            if response.status_code != 429 or not patient:
                break
            told = response.headers.get("retry-after", "")
            # Those that were refused together do not come again together.
            await asyncio.sleep((int(told) if told.isdigit() else 1) * (1 + random.random()))
        if response.status_code >= 400:
            raise error_for(response.status_code, response.content, self.url)
        return response.content

    async def _answer(
        self,
        method: str,
        path: str,
        params: Params | None,
        content: bytes | AsyncIterator[bytes],
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx.Response:
        httpx = import_httpx()
        try:
            return await self._client().request(
                method,
                path,
                params=_given(params),
                content=content,
                headers={"content-type": "application/json", **(headers or {})},
                timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise unreachable(self.url, _reason(error)) from error
        except httpx.HTTPError as error:
            raise cut_off(self.url, f"{method} {path}", _reason(error)) from error

    async def stream(
        self,
        method: str,
        path: str,
        records: msgspec.json.Decoder[T],
        *,
        params: Params | None = None,
        record: msgspec.Struct | None = None,
        silence: float | None = None,
    ) -> AsyncGenerator[T, None]:
        """The records of an NDJSON answer as they come. `silence` bounds the wait for each, in seconds."""
        httpx = import_httpx()
        request = self._client().build_request(
            method,
            path,
            params=_given(params),
            content=msgspec.json.encode(record) if record is not None else b"",
            headers={"content-type": "application/json"},
            timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
        )
        try:
            response = await self._client().send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise unreachable(self.url, _reason(error)) from error
        except httpx.HTTPError as error:
            raise cut_off(self.url, f"{method} {path}", _reason(error)) from error
        try:
            if response.status_code >= 400:
                raise error_for(response.status_code, await response.aread(), self.url)
            lines = LineSplitter()
            async for data in response.aiter_bytes():
                for line in lines.feed(data):
                    yield records.decode(line)
        except httpx.HTTPError as error:
            raise cut_off(self.url, f"{method} {path}", _reason(error)) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise garbled(self.url, error) from error
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close every connection of this event loop; a later request opens new ones."""
        http, owner = self._http, self._owner
        self._http = self._owner = None
        if http is not None and owner == (os.getpid(), asyncio.get_running_loop()):
            await http.aclose()

    def _client(self) -> httpx.AsyncClient:
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._http is None or self._owner != owner:
            # Connections of another loop or of the parent process are not ours to use or to close.
            self._http, self._owner = self._open(), owner
        return self._http

    def _open(self) -> httpx.AsyncClient:
        import ssl

        module = import_httpx()
        where = urlsplit(self.url)
        # Loading the system's certificates costs more than a request, and http:// needs none.
        https = where.scheme == "https"
        verify = _believing(module) if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        http: httpx.AsyncClient = module.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {self._token}"},
            verify=verify,
            # A proxy for the outside world cannot reach this machine's own loopback.
            trust_env=where.hostname not in LOOPBACK,
            limits=module.Limits(
                max_connections=None,
                # Less than the 5 s after which uvicorn closes: no request meets a closing connection.
                keepalive_expiry=4.0,
            ),
        )
        return http


def _believing(module: Any) -> ssl.SSLContext:
    """What httpx trusts (``SSL_CERT_FILE`` counts), and the authorities in the file that `CA_FILE` names."""
    context: ssl.SSLContext = module.create_ssl_context()
    path = os.environ.get(CA_FILE)
    if path:
        try:
            context.load_verify_locations(path)
        except OSError as error:  # of which SSLError is one
            raise exception.InvalidError(
                f"{CA_FILE} names {path}, which is no file of certificates in PEM form: {error}"
            ) from None
    return context


def _given(params: Params | None) -> dict[str, str]:
    return {name: str(value) for name, value in (params or {}).items() if value is not None}


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
