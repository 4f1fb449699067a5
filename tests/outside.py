"""Networks of containers, as far as this machine has them, and a host outside of it, as far as they can tell."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.sandboxes.network import Networks

TUN = Path("/dev/net/tun")


@functools.cache
def shared_because() -> str:
    """Why containers have no networks of their own here; empty where they have."""
    return asyncio.run(Networks().choose()).shared_because


own_network = pytest.mark.skipif(bool(shared_because()), reason=shared_because())
ordinary_user = pytest.mark.skipif(
    os.geteuid() != 0 or not TUN.exists() or TUN.stat().st_mode & 0o006 != 0o006,
    reason=f"root becomes an ordinary user, who needs to open {TUN} (chmod 0666)",
)
needs_outside = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="makes a host in a network namespace: needs root and ip (apt install iproute2)",
)


@contextlib.contextmanager
def outside_host() -> Iterator[str]:
    """A web server in a network namespace of its own, two hops from a container."""
    name = f"portico-{os.getpid()}"
    link, subnet = f"pt{os.getpid() % 100000}", "198.18.77"
    for command in (
        f"netns add {name}",
        f"link add {link} type veth peer name outside netns {name}",
        f"addr add {subnet}.1/30 dev {link}",
        f"link set {link} up",
        f"-n {name} addr add {subnet}.2/30 dev outside",
        f"-n {name} link set outside up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    program = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'greetings')\n"
        "s = h.HTTPServer(('0.0.0.0', 80), H); print('up', flush=True); s.serve_forever()\n"
    )
    python = shutil.which("python3") or "python3"
    host = subprocess.Popen(
        ["ip", "netns", "exec", name, python, "-c", program], stdout=subprocess.PIPE
    )
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        yield f"http://{subnet}.2/"
    finally:
        host.kill()
        host.wait()
        host.stdout.close()  # type: ignore[union-attr]
        subprocess.run(["ip", "netns", "delete", name], check=True)
