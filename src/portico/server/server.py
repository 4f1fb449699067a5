"""The composition root: every part is built, wired, started and stopped here, in order."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from portico.control import naming
from portico.engines.local import LocalEngine
from portico.gateway.auth import ProxyTokens
from portico.gateway.forwarding import Forwarding
from portico.gateway.gateway import Gateway
from portico.gateway.ledger import Ledger
from portico.gateway.limits import Limits, TokenBucket
from portico.gateway.log_writer import LogWriter
from portico.images.builder import UvBuilder
from portico.pools.tally import Tallies
from portico.sandboxes.process import ProcessSandbox
from portico.server import descriptors
from portico.server.certificates import certificate_of
from portico.server.config import HostPort, ServerSettings
from portico.server.gpus import Gpus, gpus_here
from portico.server.live import LiveApps
from portico.server.state import StateFolder
from portico.wire.api import ServerInfo
from portico.wire.container import LogLine
from portico.wire.image import ImageSpec
from portico.wire.local import ServerRecord

if TYPE_CHECKING:
    from portico.server.control_plane import ControlPlane

logger = logging.getLogger(__name__)

CLEAR_TEXT = (
    "the control API at %s can be reached from other machines and is not encrypted, so its tokens can be read on "
    "the way: give --tls-cert and --tls-key, or leave it on 127.0.0.1 and reach it through SSH or a VPN"
)
EMBEDDED_GRACE = 3.0  # seconds that running inputs have when the server of a CLI process ends
GRACE = 30.0
API_BACKLOG = 512
STDOUT, STDERR = 1, 2


class Server:
    """One running Portico: gateway, pools, control and images on the current event loop."""

    def __init__(self, settings: ServerSettings, *, embedded: bool = False) -> None:
        self._settings = settings
        self._embedded = embedded
        self._state = StateFolder(settings.state_dir)
        self._proxy_tokens = ProxyTokens()
        self._started_at = time.time()
        self._record: Path | None = None
        self._cleanup = contextlib.AsyncExitStack()
        self.web_url = ""
        self.api_url = ""
        self.local_url = ""
        """The control API for this machine's own clients."""
        self.token = ""
        self.can_warm = asyncio.Event()
        """Set once `warm` may be called, well before the server is ready."""
        self._plane: ControlPlane | None = None

    async def start(self) -> None:
        """Bring every part up; what failed halfway is taken down again. Raises OSError and `StateLocked`."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        shares = descriptors.share(descriptors.raise_limit(), settings.max_connections)
        self._state.create()
        if not self._embedded:
            self._state.lock()
            self._cleanup.callback(self._state.unlock)
        tls = self._tls()
        bucket = TokenBucket(settings.rate_limit, settings.rate_burst or 1, loop.time)
        gateway = self._gateway(loop, limits(settings, shares), bucket, self._access_log())
        web_port = await gateway.listen(settings.web.host, settings.web.port, tls)
        self.web_url = _url(settings.web, web_port, tls)
        listeners = self._bind_api(tls)

        self._engine = LocalEngine(ProcessSandbox(self._state.run, self._log))
        tallies = Tallies()
        apps = LiveApps(
            self._engine,
            gateway,
            self._log,
            rate=bucket,
            tallies=tallies,
            max_waiting=settings.max_waiting,
            gpus=Gpus(gpus_here(), ignored=settings.ignore_gpu),
        )
        self._images = UvBuilder(self._state.images, blobs=self._blob)
        # Taken down from the last line to the first: no new requests, no containers, then the books.
        down = self._cleanup.push_async_callback
        down(self._close_plane)
        down(self._engine.close)
        down(self._images.close)
        down(apps.close, self._grace)
        down(gateway.close, self._grace)
        self.can_warm.set()
        self._plane = await self._make_plane(gateway, apps, tallies, web_port)
        self.token = await self._plane.start(listeners)
        down(self._plane.end_streams)
        self._leave_record()

    def _tls(self) -> ssl.SSLContext | None:
        """What the shared address speaks TLS with; its certificate is that in the files, whenever they change."""
        certificate = certificate_of(self._settings.tls_cert, self._settings.tls_key)
        if certificate is None:
            return None
        following = asyncio.create_task(certificate.follow())
        self._cleanup.push_async_callback(_end, following)
        return certificate.context

    def _bind_api(
        self, tls: ssl.SSLContext | None
    ) -> list[tuple[socket.socket, ssl.SSLContext | None]]:
        """The control API's sockets.

        Where other machines can reach it, its tokens travel, so it has the certificate of the web functions;
        this machine's own clients, who know it by no name that is in it, then have a loopback port.
        """
        address = self._settings.api
        exposed = not _is_loopback(address.host)
        tls = tls if exposed else None
        listeners = [(_bind(address), tls)]
        if tls is not None:
            listeners.append((_bind(HostPort("127.0.0.1:0")), None))
        elif exposed:
            logger.warning(CLEAR_TEXT, address)
        for listener, _ in listeners:
            self._cleanup.callback(listener.close)
        self.api_url = _url(address, listeners[0][0].getsockname()[1], tls)
        self.local_url = self.api_url
        if tls is not None:
            self.local_url = f"http://127.0.0.1:{listeners[1][0].getsockname()[1]}"
        return listeners

    async def _make_plane(
        self, gateway: Gateway, apps: LiveApps, tallies: Tallies, web_port: int
    ) -> ControlPlane:
        # FastAPI and SQLAlchemy take most of a start: imported beside the loop, so that zygotes boot meanwhile.
        module = await asyncio.to_thread(importlib.import_module, "portico.server.control_plane")
        plane: ControlPlane = module.ControlPlane(
            state_dir=self._state.root,
            site=naming.Site(
                self._settings.workspace,
                self._settings.domain,
                scheme=self.web_url.partition(":")[0],
                port=web_port,
            ),
            info=self._info,
            builder=self._images,
            gate=self._proxy_tokens,
            gateway=gateway,
            apps=apps,
            tallies=tallies,
            embedded=self._embedded,
        )
        return plane

    async def _close_plane(self) -> None:
        if self._plane is not None:
            await self._plane.close()

    def _log(self, line: LogLine) -> None:
        if self._plane is not None:
            self._plane.log(line)

    def _blob(self, digest: str) -> Path:
        assert self._plane is not None  # only a deploy builds
        return self._plane.blob(digest)

    def warm(self, images: Iterable[ImageSpec]) -> None:
        """Boot the zygotes of images that are built already, before an app asks for them."""
        for spec in images:
            environment = self._images.cached(spec)
            if environment is not None:
                self._engine.warm(environment)

    def _access_log(self) -> LogWriter | None:
        """The access log, open; None where there is to be none. Raises OSError."""
        where = self._settings.access_log
        if where == "off":
            return None
        # The stdout of a program that a server is embedded in is the program's.
        standard = STDERR if self._embedded else STDOUT
        log = LogWriter(standard if where == "-" else Path(where), complain=_complain)
        try:
            log.open()
        except OSError as error:
            raise OSError(
                error.errno, f"cannot write the access log {where}: {error.strerror}"
            ) from None
        self._cleanup.push_async_callback(asyncio.to_thread, log.close)
        return log

    def _gateway(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        bucket: TokenBucket,
        log: LogWriter | None,
    ) -> Gateway:
        settings = self._settings
        forwarding = Forwarding(settings.trusted_proxy)
        return Gateway(
            loop,
            limits=limits,
            forwarding=forwarding,
            bucket=bucket,
            proxy_tokens=self._proxy_tokens,
            ledger=Ledger(log, forwarding.client),
        )

    def _leave_record(self) -> None:
        record = ServerRecord(
            url=self.local_url, token=self.token, pid=os.getpid(), embedded=self._embedded
        )
        self._record = self._state.write_record(record)

    async def stop(self) -> None:
        """Take requests no longer, let running ones end, end every container."""
        if self._record is not None:
            self._record.unlink(missing_ok=True)
        await self._cleanup.aclose()

    @property
    def _grace(self) -> float:
        return EMBEDDED_GRACE if self._embedded else GRACE

    def _info(self) -> ServerInfo:
        return ServerInfo(
            version=version("portico"),
            web_url=self.web_url,
            api_url=self.api_url,
            domain=self._settings.domain,
            workspace=self._settings.workspace,
            sandbox="process",
            pid=os.getpid(),
            embedded=self._embedded,
            state_dir=str(self._state.root),
            started_at=self._started_at,
        )


def _complain(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _bind(address: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(API_BACKLOG)  # from now on clients wait rather than being refused
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    return listener


def limits(settings: ServerSettings, shares: descriptors.Shares) -> Limits:
    """What the gateway is to bound. Sizes are plain numbers there: it says "bytes" after them."""
    return Limits(
        request_body=int(settings.max_request_body),
        head=int(settings.max_request_head),
        headers=settings.max_request_headers,
        websocket_message=int(settings.max_websocket_message),
        head_timeout=settings.head_timeout,
        idle_timeout=settings.idle_timeout,
        replay_body=int(settings.max_replay_body),
        connections=shares.clients,
        upstream_connections=shares.upstream,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(address: HostPort, port: int, tls: ssl.SSLContext | None) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http{'s' if tls else ''}://{host}:{port}"
