"""Networks of containers that listen on ports: as root, as an ordinary user, and with names to resolve."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import ORDINARY, Portico, get

from outside import needs_outside, ordinary_user, outside_host, own_network

# The guide's parametrized file server, word for word but for the prefix of its app.
FILES = """
    import modal

    app = modal.App("files")

    @app.cls(allow_concurrent_inputs=1000)
    class Server:
        root: str = modal.parameter(default=".")

        @modal.web_server(8000)
        def files(self):
            import subprocess
            subprocess.Popen(f"python -m http.server -d {self.root} 8000", shell=True)
"""


def two_roots(portico: Portico, app: str) -> None:
    """Ask the file server for two roots, while the port is taken outside."""
    files = portico.deploy("files.py", FILES.replace('"files"', f'"{app}"'))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("0.0.0.0", 8000))
            other.listen()
        except OSError:
            pass  # somebody else has taken it: as good
        here = get(files.url("Server.files")).text
        root = get(f"{files.url('Server.files')}?root=%2F").text
    assert "files.py" in here
    assert 'href="usr/"' in root
    assert 'href="usr/"' not in here
    containers = portico.containers(app)
    assert len({c["pid"] for c in containers}) == len(containers) == 2


def reach_outside(portico: Portico) -> None:
    """Have a container fetch a page of another host."""
    with outside_host() as url:
        reach = portico.deploy(
            "reach.py",
            f"""
            import modal

            app = modal.App("reach")

            @app.function()
            @modal.web_server(8000)
            def reach():
                import pathlib, subprocess, urllib.request
                page = urllib.request.urlopen({url!r}, timeout=10).read()
                pathlib.Path("index.html").write_bytes(page)
                subprocess.Popen("python -m http.server 8000", shell=True)
            """,
        )
        assert get(reach.url("reach")).text == "greetings"
    (container,) = portico.containers("reach")
    own = Path(f"/proc/{container['pid']}/ns/net").readlink()
    assert own != Path("/proc/self/ns/net").readlink()


@own_network
def test_two_roots_are_served_at_once_on_a_port_that_the_machine_has_taken(server: Portico) -> None:
    two_roots(server, "files")


@own_network
@needs_outside
def test_a_container_with_a_network_of_its_own_reaches_the_outside(server: Portico) -> None:
    reach_outside(server)


@own_network
@needs_outside
@ordinary_user
def test_an_ordinary_user_has_the_same(ordinary: Portico) -> None:
    ordinary.start_server()
    two_roots(ordinary, "files")
    reach_outside(ordinary)
    users = {Path(f"/proc/{c['pid']}").stat().st_uid for c in ordinary.containers("files")}
    assert users == {ORDINARY}


LOOPBACK_RESOLVER = "127.0.0.54"


@own_network
@pytest.mark.skipif(os.geteuid() != 0, reason="gives the server another resolv.conf")
@pytest.mark.parametrize("who", ["user", pytest.param("ordinary", marks=ordinary_user)])
def test_names_are_resolved_where_the_resolver_is_on_the_machine_s_loopback(
    request: pytest.FixtureRequest, who: str
) -> None:
    portico: Portico = request.getfixturevalue(who)
    first = portico.start_server()
    portico.deploy("files.py", FILES)  # so that no image has to be made with that resolver
    first.end()
    with tempfile.NamedTemporaryFile("w") as resolv_conf, resolver():
        resolv_conf.write(f"nameserver {LOOPBACK_RESOLVER}\nsearch example\n")
        resolv_conf.flush()
        os.chmod(resolv_conf.name, 0o644)
        mount = f'mount --bind {resolv_conf.name} /etc/resolv.conf && exec "$@"'
        portico.prefix = ["unshare", "--mount", "sh", "-c", mount, "sh", *portico.prefix]
        portico.start_server()
        names = portico.deploy(
            "names.py",
            """
            import modal

            app = modal.App("names")

            @app.function()
            @modal.web_server(8000)
            def names():
                import pathlib, socket, subprocess
                pathlib.Path("found").write_text(socket.gethostbyname("harbour"))
                subprocess.Popen("python -m http.server 8000", shell=True)
            """,
        )
        assert get(f"{names.url('names')}/found").text == "10.1.2.3"


@contextlib.contextmanager
def resolver() -> Iterator[None]:
    """A name server that knows ``harbour.example``, and only on the machine's loopback."""
    question = b"\x07harbour\x07example\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK_RESOLVER, 53))

        def answer() -> None:
            while True:
                query, asker = server.recvfrom(512)
                if query == b"end":
                    return
                end = query.index(b"\0", 12) + 5
                found = query[12:].startswith(question) and query[end - 4 : end - 2] == b"\0\1"
                head = query[:2] + (b"\x81\x80" if found else b"\x81\x83") + b"\0\1"
                head += b"\0\1" if found else b"\0\0"
                record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3" if found else b""
                server.sendto(head + b"\0\0\0\0" + query[12:end] + record, asker)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"end", (LOOPBACK_RESOLVER, 53))
            thread.join()
