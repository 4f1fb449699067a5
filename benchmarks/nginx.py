"""nginx as a reverse proxy before uvicorn's unix sockets."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.home import Home
from benchmarks.memory import children
from benchmarks.processes import background, free_port
from benchmarks.proxy import Proxy, Traffic
from benchmarks.uvicorn import answered

FILES = 16384  # enough for 10,000 idle connections, and 5,000 tunnels with two ends each
CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_http_version 1.1;
{options}
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Request-Id $request_id;
{sites}
}}
"""

SITE = """
    upstream {name} {{
        server unix:{socket};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{ proxy_pass http://{name}; }}
    }}
"""

OPTIONS: Mapping[Traffic, str] = {
    "requests": """
    proxy_set_header Connection "";
""",
    # Buffers as large as uvicorn's and the gateway's; the default is a page.
    "streams": """
    proxy_set_header Connection "";
    client_max_body_size 0;
    client_body_buffer_size 64k;
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    proxy_request_buffering off;
    proxy_buffering off;
""",
    "websockets": """
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Upgrade $http_upgrade;
    proxy_read_timeout 1h;
""",
}


def installed() -> bool:
    """Whether this machine has nginx."""
    return shutil.which("nginx") is not None


def configuration(
    folder: str, sockets: Mapping[str, str], ports: Mapping[str, int], traffic: Traffic
) -> str:
    """One site a socket, on its port; the worker runs as the user that made the sockets."""
    sites = (
        SITE.format(name=name, socket=socket, port=ports[name]) for name, socket in sockets.items()
    )
    return CONFIG.format(
        folder=folder, user=_user(), files=FILES, options=OPTIONS[traffic], sites="".join(sites)
    )


@contextlib.contextmanager
def nginx(home: Home, sockets: Mapping[str, str], traffic: Traffic) -> Iterator[Proxy]:
    """nginx before each of the unix sockets, set up for one kind of traffic, once all answer."""
    folder = home.folder / "nginx"
    folder.mkdir()
    ports = {name: free_port() for name in sockets}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    config = folder / "nginx.conf"
    config.write_text(configuration(str(folder), sockets, ports, traffic))
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with background(command, folder=folder, env=home.environ) as process:
        for url in urls.values():
            process.wait_for(partial(answered, url), "an answer")
        workers = children(process.pid)  # none where the system does not tell
        yield Proxy(urls, workers[0] if workers else process.pid)


def _user() -> str:
    # Without root, nginx keeps its user and warns about the directive; with root it would become nobody.
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
