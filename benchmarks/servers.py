"""The same apps behind every server that is compared, all up at once; only one has work at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import haproxy, nginx
from benchmarks.home import Home
from benchmarks.proxy import Traffic
from benchmarks.uvicorn import uvicorn_on_port, uvicorn_on_socket

DIRECT, NGINX, HAPROXY, PORTICO = (
    "direct uvicorn",
    "nginx → uvicorn",
    "HAProxy → uvicorn",
    "Portico",
)
EVERY = (DIRECT, NGINX, HAPROXY, PORTICO)


@dataclass(frozen=True)
class Servers:
    """A URL by server and app; of each that stands before the app, the process that carries the bytes."""

    urls: Mapping[str, Mapping[str, str]]
    pids: Mapping[str, int]

    def url(self, server: str, app: str) -> str:
        """Where `server` serves `app`; empty where it is missing."""
        return self.urls.get(server, {}).get(app, "")


@contextlib.contextmanager
def servers(
    home: Home,
    apps: Mapping[str, Sequence[str]],
    script: str,
    *,
    traffic: Traffic = "requests",
    only: Sequence[str] = EVERY,
) -> Iterator[Servers]:
    """Whichever of `only` this machine has, once each answers.

    `apps` is what uvicorn is to load, by the name of the function of `script` that serves the same from Portico.
    """
    urls: dict[str, Mapping[str, str]] = {}
    pids: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        if DIRECT in only:
            urls[DIRECT] = {
                app: enter(uvicorn_on_port(home, f"{app}-tcp", line)) for app, line in apps.items()
            }
        if PORTICO in only:
            pids[PORTICO] = enter(home.server()).pid
            urls[PORTICO] = home.deploy(script)
        proxies = [name for name in (NGINX, HAPROXY) if name in only and not missing(name)]
        if proxies:
            sockets = {
                app: enter(uvicorn_on_socket(home, f"{app}-unix", line))
                for app, line in apps.items()
            }
        for name in proxies:
            proxy = enter(
                nginx.nginx(home, sockets, traffic)
                if name == NGINX
                else haproxy.haproxy(home, sockets, traffic)
            )
            urls[name] = proxy.urls
            pids[name] = proxy.pid
        yield Servers(urls, pids)


def missing(server: str) -> str:
    """Why this machine cannot run a server; empty where it can."""
    if server == NGINX and not nginx.installed():
        return "nginx is not installed"
    if server == HAPROXY and not haproxy.installed():
        return "haproxy is not installed"
    return ""
