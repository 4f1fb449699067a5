"""TLS on the shared address: who is let in, and that every end of a connection is what it is without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from pathlib import Path

import pytest
from wsproto.events import BytesMessage, TextMessage

from certificates import Authority, serial_of
from gateway.sockets import HANDSHAKE, Socket, echo
from gateway.world import (
    DEADLINE,
    Client,
    Connection,
    Flood,
    World,
    header,
    hello,
    run,
    slow_reader_pauses_its_container,
)
from portico.gateway.limits import Limits
from portico.server.certificates import Certificate

HOST = b"me--app-f.localhost"
GET = b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST
LAST = b"GET /x HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % HOST


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def trust(authority: Authority) -> ssl.SSLContext:
    return authority.client()


@pytest.fixture
def certificate(tmp_path: Path, authority: Authority) -> Certificate:
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.issue().write(*files)
    return Certificate(*files)


@pytest.fixture
def tls(certificate: Certificate) -> ssl.SSLContext:
    return certificate.context


async def refused(world: World, context: ssl.SSLContext) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await world.connect(own_port=False, tls=context)


async def all_gone(world: World) -> None:
    async with asyncio.timeout(DEADLINE):
        while world.gateway.connections:
            await asyncio.sleep(0.01)


def test_requests_come_over_tls_and_the_ports_of_functions_stay_plain(tls, trust):
    async def test():
        async with World(hello, tls=tls) as world:
            trust.set_alpn_protocols(["h2", "http/1.1"])
            secure, plain = await world.connect(own_port=False, tls=trust), await world.connect()
            assert secure.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            for client in (secure, plain, secure):
                client.send(GET)
                head, body = await client.response()
                assert (head.status_code, body) == (200, b"GET /x ")
            schemes = [header(request, "x-forwarded-proto") for request in world.requests]
            assert schemes == [b"https", b"http", b"https"]
            assert {header(request, "x-forwarded-for") for request in world.requests} == {
                b"127.0.0.1"
            }

    run(test)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_versions_and_ciphers_without_forward_secrecy_are_refused(tls, authority):
    def client(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
        context = authority.client()
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, version
        context.set_ciphers(ciphers)
        return context

    async def test():
        async with World(hello, tls=tls) as world:
            await refused(world, client(ssl.TLSVersion.TLSv1_1))
            await refused(world, client(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"))
            await refused(world, client(ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"))
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                accepted = await world.connect(own_port=False, tls=client(version))
                accepted.send(GET)
                assert (await accepted.response())[0].status_code == 200
            await refused(world, ssl.create_default_context())  # which does not know the authority
            assert len(world.requests) == 2

    run(test)


def test_what_does_not_speak_tls_or_nothing_at_all_is_let_go(tls, trust):
    async def test():
        limits = Limits(head_timeout=0.3)
        async with World(hello, tls=tls, limits=limits) as world:
            silent, plain, half = [await world.connect(own_port=False) for _ in range(3)]
            plain.send(GET)
            half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")  # the beginning of a ClientHello
            for client in (silent, plain, half):
                await client.rest()
            assert world.gateway.connections == 0
            well = await world.connect(own_port=False, tls=trust)
            well.send(b"GET /x HTTP/1.1\r\nHost:")
            assert (await well.rest()).startswith(b"HTTP/1.1 408 ")
            await all_gone(world)
            assert world.requests == []

    run(test)


def test_a_slow_reader_gets_all_of_a_last_response_and_then_an_orderly_end(tls, trust):
    size = 4 * 1024**2

    async def large(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await connection.respond(b"x" * size)

    async def test():
        async with World(large, tls=tls) as world:
            client = await world.connect(own_port=False, tls=trust)
            client.writer.transport.pause_reading()
            client.send(LAST)
            await asyncio.sleep(3)  # longer than a client that has everything is waited for
            client.writer.transport.resume_reading()
            assert len((await client.response())[1]) == size
            assert await client.rest() == b""
            await all_gone(world)
            await world.idle()

    run(test)


def test_a_slow_reader_pauses_the_container(tls, trust):
    async def test():
        flood = Flood()
        async with World(flood, tls=tls) as world:
            client = await world.connect(own_port=False, tls=trust)
            await slow_reader_pauses_its_container(world, flood, client, GET)

    run(test)


def test_a_cut_response_does_not_look_whole(tls, trust):
    go = asyncio.Event()

    async def dies(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        await connection.writer.drain()
        await go.wait()
        connection.container.kill()

    def read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as raw:
            client = trust.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
            client.sendall(b"GET / HTTP/1.0\r\nHost: %b\r\n\r\n" % HOST)
            got = b""
            while b"begun" not in got:
                got += client.recv(65536)
            asyncio.run_coroutine_threadsafe(_set(go), loop).result()
            return client.recv(65536)

    async def test():
        nonlocal loop
        loop = asyncio.get_running_loop()
        async with World(dies, tls=tls) as world:
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                await asyncio.to_thread(read, world.port)
            await world.idle()

    loop: asyncio.AbstractEventLoop
    run(test)


async def _set(event: asyncio.Event) -> None:
    event.set()


@pytest.mark.parametrize("orderly", [True, False], ids=["with close_notify", "with a reset"])
def test_a_client_that_leaves_cancels_its_input(tls, trust, orderly):
    async def endless(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        await connection.reader.read()

    async def test():
        async with World(endless, tls=tls) as world:
            client = await world.connect(own_port=False, tls=trust)
            client.send(GET)
            await client.until(b"begun")
            if orderly:
                client.close()
            else:
                client.writer.transport.abort()
            async with asyncio.timeout(DEADLINE):
                await world.cancelled.get()
            await world.idle()
            await all_gone(world)

    run(test)


def test_a_client_that_leaves_while_its_upload_is_not_read_is_noticed(tls, trust):
    async def never_reads(connection: Connection) -> None:
        await connection.request()
        connection.reader._transport.pause_reading()
        await connection.container.cancelled.get()

    async def test():
        async with World(never_reads, tls=tls) as world:
            client = await world.connect(own_port=False, tls=trust)
            client.send(b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 100000000\r\n\r\n" % HOST)
            client.send(b"x" * 16 * 1024**2)
            async with asyncio.timeout(DEADLINE):
                while not any(c.paused for c in world.gateway._connections):
                    await asyncio.sleep(0.01)
                connection = client.writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
                await world.cancelled.get()
            await world.idle()
            await all_gone(world)

    run(test)


def test_a_half_closed_connection_is_one_whose_client_left(tls, trust, caplog):
    caplog.set_level(logging.WARNING)

    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.container.cancelled.get()

    def leave(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as raw:
            client = trust.wrap_socket(raw, server_hostname="localhost")
            client.sendall(LAST)
            return client.unwrap().recv(1)

    async def test():
        async with World(slow, tls=tls) as world:
            assert await asyncio.to_thread(leave, world.port) == b""
            await world.idle()
            await all_gone(world)
        assert caplog.text == ""

    run(test)


def test_clients_that_never_answer_an_end_are_let_go(tls, trust):
    """Neither by closing an idle connection, nor after a last answer, nor at shutdown."""

    def idle_socket(port: int, request: bytes) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        client = trust.wrap_socket(raw, server_hostname="localhost")
        client.sendall(request)
        assert client.recv(12) == b"HTTP/1.1 200"
        return client  # and it neither reads nor writes any more

    async def test():
        async with World(hello, tls=tls, limits=Limits(idle_timeout=0.2)) as world:
            held = [await asyncio.to_thread(idle_socket, world.port, r) for r in (GET, LAST)]
            await all_gone(world)
        async with World(hello, tls=tls) as world:
            held += [await asyncio.to_thread(idle_socket, world.port, GET) for _ in range(3)]
            async with asyncio.timeout(DEADLINE):
                await world.gateway.close(60)
            assert world.gateway.connections == 0
        for client in held:
            client.close()

    run(test)


def test_shutdown_lets_a_running_response_end(tls, trust):
    go = asyncio.Event()

    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await go.wait()
        await connection.respond(b"late")

    async def test():
        async with World(slow, tls=tls) as world:
            idle = await world.connect(own_port=False, tls=trust)
            busy = await world.connect(own_port=False, tls=trust)
            busy.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.001)
            closing = asyncio.create_task(world.gateway.close(30))
            assert await idle.rest() == b""
            go.set()
            assert (await busy.rest()).endswith(b"late")
            async with asyncio.timeout(DEADLINE):
                await closing

    run(test)


def test_a_handshake_that_ends_after_the_listening_has_nothing_to_follow(tls, trust):
    hello_sent = asyncio.Event()

    def late(raw: socket.socket) -> bytes:
        to_us, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(to_us, to_server, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        raw.sendall(to_server.read())
        to_us.write(raw.recv(65536))  # so the server is in the handshake
        asyncio.run_coroutine_threadsafe(_set(hello_sent), loop).result()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                to_us.write(raw.recv(65536))
        asyncio.run_coroutine_threadsafe(closed.wait(), loop).result(DEADLINE)
        client.write(GET)
        raw.sendall(to_server.read())
        with contextlib.suppress(ConnectionResetError):
            while data := raw.recv(65536):
                to_us.write(data)
        with contextlib.suppress(ssl.SSLError):
            return client.read()
        return b""

    async def test():
        nonlocal loop
        loop = asyncio.get_running_loop()
        async with World(hello, tls=tls) as world:
            with socket.create_connection(("127.0.0.1", world.port), timeout=DEADLINE) as raw:
                client = asyncio.create_task(asyncio.to_thread(late, raw))
                await hello_sent.wait()
                await world.gateway.close(0)
                closed.set()
                assert await client == b""
            assert world.gateway.connections == 0
            assert world.requests == []

    closed = asyncio.Event()
    loop: asyncio.AbstractEventLoop
    run(test)


def test_websockets_pass_over_tls_and_end_in_order(tls, trust):
    async def test():
        async with World(echo, tls=tls) as world:
            world.closed = asyncio.Queue()
            client = await world.connect(own_port=False, tls=trust)
            client.send(HANDSHAKE.replace(b"Host: h\r\n", b"Host: %b\r\n" % HOST))
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert b"x-forwarded-proto: https" in world.handshake
            web_socket = Socket(client)
            web_socket.send(TextMessage(data="héllo"))
            assert await web_socket.message() == "héllo"
            web_socket.send(BytesMessage(data=b"\x00" * 300_000))
            assert await web_socket.message() == b"\x00" * 300_000
            world.pool.members[0].retire_leases()
            assert (await web_socket.event()).code == 1012
            assert await world.closed.get() == 1012
            assert await client.rest() == b""
            await world.idle()
            await all_gone(world)

    run(test)


def test_new_connections_have_the_new_certificate_and_open_ones_go_on(
    tls, trust, certificate, authority, tmp_path
):
    async def shown(world: World, name: str | None = "localhost") -> tuple[int, Client]:
        context = trust if name else authority.client(checks_host=False)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", world.port, ssl=context, server_hostname=name or ""
        )
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return serial_of(der), Client(reader, writer)

    async def test():
        async with World(hello, tls=tls) as world:
            _, old = await shown(world)
            renewed = authority.issue()
            renewed.write(tmp_path / "cert.pem", tmp_path / "key.pem")
            certificate.look()
            for name in ("localhost", "127.0.0.1", None):  # with and without SNI
                serial, client = await shown(world, name)
                assert serial == renewed.serial
                client.send(GET)
                assert (await client.response())[0].status_code == 200
            old.send(GET)
            assert (await old.response())[0].status_code == 200

    run(test)
