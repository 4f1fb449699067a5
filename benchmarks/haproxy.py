"""HAProxy as a reverse proxy before uvicorn's unix sockets."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.home import Home
from benchmarks.processes import background, free_port
from benchmarks.proxy import Proxy, Traffic
from benchmarks.uvicorn import answered

CONFIG = """
global
    nbthread 1
    maxconn 12288
    ulimit-n 16384
    no strict-limits
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    http-reuse always
    {options}
"""

OPTIONS: Mapping[Traffic, str] = {
    "requests": "",
    "streams": "option http-no-delay",  # it holds chunks back by 200 ms otherwise
    "websockets": "",
}

SITE = """
frontend {name}
    bind 127.0.0.1:{port} backlog 2048
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Request-Id %[uuid()]
    default_backend {name}-uvicorn
backend {name}-uvicorn
    server uvicorn unix@{socket} pool-purge-delay 1h
"""


def installed() -> bool:
    """Whether this machine has HAProxy."""
    return shutil.which("haproxy") is not None


def configuration(sockets: Mapping[str, str], ports: Mapping[str, int], traffic: Traffic) -> str:
    """One site a socket, on its port."""
    sites = (
        SITE.format(name=name, socket=socket, port=ports[name]) for name, socket in sockets.items()
    )
    return CONFIG.format(options=OPTIONS[traffic]) + "".join(sites)


@contextlib.contextmanager
def haproxy(home: Home, sockets: Mapping[str, str], traffic: Traffic) -> Iterator[Proxy]:
    """HAProxy before each of the unix sockets, set up for one kind of traffic, once all answer."""
    folder = home.folder / "haproxy"
    folder.mkdir()
    ports = {name: free_port() for name in sockets}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    config = folder / "haproxy.cfg"
    config.write_text(configuration(sockets, ports, traffic))
    command = ["haproxy", "-db", "-f", str(config)]
    with background(command, folder=folder, env=home.environ) as process:
        for url in urls.values():
            process.wait_for(partial(answered, url), "an answer")
        yield Proxy(urls, process.pid)
