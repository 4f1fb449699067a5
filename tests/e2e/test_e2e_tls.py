"""HTTPS as a user sets it up: URLs, curl, WebSockets, renewal without a restart, and the CLI from elsewhere."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from driver import DEADLINE, Portico, client, until
from websockets.sync.client import connect

from certificates import Authority, serial_of

APP = """
    import fastapi
    import modal

    app = modal.App("tls", image=IMAGE)

    @app.function()
    @modal.asgi_app()
    def who():
        web = fastapi.FastAPI()

        @web.get("/")
        def seen(request: fastapi.Request):
            return {"client": request.client.host, "url": str(request.url)}

        @web.websocket("/echo")
        async def echo(socket: fastapi.WebSocket):
            await socket.accept()
            await socket.send_text(socket.url.scheme + " " + socket.client.host)
            while True:
                await socket.send_text(await socket.receive_text())

        return web
"""
HOST = "e2e--tls-who.localhost"


@pytest.fixture
def authority(user: Portico) -> Authority:
    made = Authority()
    (user.folder / "ca.pem").write_bytes(made.root)
    return made


def serial(port: int, trust: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection gets."""
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE) as raw,
        trust.wrap_socket(raw, server_hostname=HOST) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
        assert der is not None
        return serial_of(der)


def test_https_with_a_certificate_that_is_renewed(user: Portico, authority: Authority) -> None:
    trust = authority.client()
    cert, key = user.folder / "cert.pem", user.folder / "key.pem"
    first = authority.issue(HOST, "127.0.0.1")
    first.write(cert, key)
    server = user.start_server(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--trusted-proxy", "127.0.0.2")
    )
    port = urlsplit(user.web_url).port
    assert user.web_url == f"https://127.0.0.1:{port}"
    deployed = user.deploy("tls.py", APP)
    secure, plain = deployed.urls["who"]
    assert secure == f"https://{HOST}:{port}"
    assert plain.startswith("http://127.0.0.1:")
    assert user.json("server", "status")["web_url"] == user.web_url

    # By its own name, with the chain checked, and not below TLS 1.2.
    if curl := shutil.which("curl"):
        command = [curl, "-sS", "--resolve", f"{HOST}:{port}:127.0.0.1", "--cacert"]
        command += [str(user.folder / "ca.pem"), f"{secure}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert json.loads(done.stdout) == {"client": "127.0.0.1", "url": f"{secure}/"}, done.stderr
        old = subprocess.run([*command, "--tls-max", "1.1"], capture_output=True, timeout=DEADLINE)
        assert old.returncode == 35  # curl's number for a handshake that failed
    spoofed = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "http"}
    with client(verify=trust, headers={"host": f"{HOST}:{port}"}) as http:
        said = {"client": "127.0.0.1", "url": f"{secure}/"}
        assert http.get(user.web_url, headers=spoofed).json() == said
        assert client().get(plain).json()["url"] == f"{plain}/"
        with pytest.raises(httpx.HTTPError):
            client().get(f"http://127.0.0.1:{port}")
        # A proxy that is trusted speaks for its clients; this one comes from an address of its own.
        proxy = httpx.HTTPTransport(verify=trust, local_address="127.0.0.2")
        with client(transport=proxy, headers={"host": HOST}) as trusted:
            answer = trusted.get(user.web_url, headers=spoofed).json()
        assert answer == {"client": "203.0.113.7", "url": f"http://{HOST}/"}

        with connect(
            f"wss://{HOST}:{port}/echo", ssl=trust, sock=socket.create_connection(("127.0.0.1", port))
        ) as web_socket:  # fmt: skip
            assert web_socket.recv(DEADLINE) == "wss 127.0.0.1"
            # A renewal that went wrong changes nothing and is said once.
            key.write_text("-----BEGIN PRIVATE KEY-----\n")
            server.until(r"the certificate in use stays.*key\.pem")
            assert serial(port, trust) == first.serial
            # One that is right is taken by new connections; those that are open go on.
            renewed = authority.issue(HOST, "127.0.0.1")
            renewed.write(cert, key)
            until(lambda: serial(port, trust) == renewed.serial, "the renewed certificate")
            web_socket.send("still here")
            assert web_socket.recv(DEADLINE) == "still here"
        assert http.get(user.web_url).json() == said


def test_the_api_is_encrypted_where_other_machines_reach_it(
    user: Portico, authority: Authority
) -> None:
    cert, key = user.folder / "cert.pem", user.folder / "key.pem"
    authority.issue("127.0.0.1").write(cert, key)
    server = user.begin(
        *("server", "run", "--tls-cert", cert, "--tls-key", key, "--api", "0.0.0.0:0")
    )
    port = urlsplit(server.until(r"api (https://0\.0\.0\.0:\d+)")[1]).port
    with pytest.raises(httpx.HTTPError):
        client().get(f"http://127.0.0.1:{port}/healthz")
    # This machine's own commands need no certificate.
    record = json.loads((user.state / "client.json").read_text())
    assert record["url"].startswith("http://127.0.0.1:")
    assert user.json("app", "list") == []
    # From elsewhere: a token, and the authority where it is none that everybody knows.
    elsewhere = {**user.env, "PORTICO_SERVER_URL": f"https://127.0.0.1:{port}"}
    elsewhere |= {"PORTICO_TOKEN": record["token"], "PORTICO_STATE_DIR": str(user.folder / "none")}
    refused = user("app", "list", env=elsewhere, status=1)
    assert "is not trusted" in refused.stderr
    assert "PORTICO_CA_FILE" in refused.stderr
    elsewhere["PORTICO_CA_FILE"] = str(user.folder / "ca.pem")
    assert user("app", "list", "--json", env=elsewhere).stdout.strip() == "[]"
    elsewhere["PORTICO_CA_FILE"] = str(key)
    assert "no file of certificates" in user("app", "list", env=elsewhere, status=1).stderr


def test_an_api_in_clear_text_is_said_where_other_machines_reach_it(user: Portico) -> None:
    server = user.begin("server", "run", "--api", "0.0.0.0:0")
    server.until(r"is not encrypted, so its tokens can be read on the way: give --tls-cert")
    server.until(r"^ready")


def test_certificates_that_cannot_be_used_are_said_before_anything_starts(
    user: Portico, authority: Authority, tmp_path: Path
) -> None:
    cert, key, other = (user.folder / name for name in ("cert.pem", "key.pem", "other.pem"))
    authority.issue().write(cert, key)
    authority.issue().write(user.folder / "unused.pem", other)
    cases = {
        "--tls-cert is given without --tls-key": ["--tls-cert", cert],
        "there is no file": ["--tls-cert", cert, "--tls-key", tmp_path / "none.pem"],
        "does not belong to the first certificate": ["--tls-cert", cert, "--tls-key", other],
    }
    for said, options in cases.items():
        for command in ("run", "start"):
            refused = user("server", command, *options, status=2)
            assert said in " ".join(refused.stderr.replace("│", " ").split())
            assert "Traceback" not in refused.stderr
    # Where the server is embedded, in the command that wanted it.
    script = user.script("tls.py", APP)
    refused = user("serve", script, env={**user.env, "PORTICO_TLS_CERT": str(cert)}, status=1)
    assert "--tls-cert is given without --tls-key" in refused.stderr
