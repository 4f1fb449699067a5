"""Whom a container takes for the client: what strangers say is dropped, what trusted proxies say is read."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct

import pytest

from gateway.world import World, header, hello, run
from portico.gateway.forwarding import MAX_HOPS, UNKNOWN, Forwarding, Peer
from portico.gateway.head import RequestHead

TRUSTED = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8", "127.0.0.1")))
PROXY = ("10.0.0.1", 4711)
STRANGER = ("203.0.113.9", 4711)
CLAIMS = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("X-FORWARDED-HOST", "evil.example"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Client-Cert", "By=me"),
    ("X-Real-IP", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6;proto=https"),
    ("X-Request-Id", "mine"),
]


def head_of(*headers: tuple[str, str]) -> RequestHead:
    head = RequestHead(b"GET", b"/")
    lines = (("Host", "app.example:8400"), *headers)
    head.read([(name.encode(), value.encode("latin-1")) for name, value in lines])
    head.request_id = b"in-" + b"0" * 32
    return head


def sent(*headers: tuple[str, str], peer: object = PROXY, secure: bool = False) -> list[list[str]]:
    """The header lines of the head that a container gets."""
    forwarding = Forwarding(TRUSTED)
    head = head_of(*headers)
    lines = forwarding.lines(head, forwarding.peer(peer, secure=secure))
    encoded = head.encode(7, lines, keep_credentials=True).decode("latin-1")
    return [line.split(": ", 1) for line in encoded.split("\r\n")[1:-2]]


def client_of(*values: str, peer: object = PROXY) -> str:
    lines = sent(*(("X-Forwarded-For", value) for value in values), peer=peer)
    (client,) = [value for name, value in lines if name == "x-forwarded-for"]
    return client


def test_everything_that_a_stranger_says_about_itself_is_dropped():
    lines = sent(*CLAIMS, ("X-Custom", "kept"), ("Xylophone", "kept"), peer=STRANGER)
    assert lines[:5] == [
        ["x-portico-input", "7"],
        ["x-forwarded-for", "203.0.113.9"],
        ["x-forwarded-proto", "http"],
        ["x-forwarded-host", "app.example:8400"],
        ["x-request-id", "in-" + "0" * 32],
    ]
    names = [name.lower() for name, _ in lines[5:]]
    assert names == ["traceparent", "host", "x-custom", "xylophone"]


def test_a_trusted_proxy_is_believed_but_for_what_it_may_only_pass_on():
    lines = sent(*CLAIMS)
    assert lines[1:4] == [
        ["x-forwarded-for", "6.6.6.6"],
        ["x-forwarded-proto", "https"],
        ["x-forwarded-host", "evil.example"],
    ]
    told = dict(lines)
    assert told["x-forwarded-port"] == "443"
    assert told["x-forwarded-prefix"] == "/evil"
    assert told["x-real-ip"] == "6.6.6.6"
    assert told["x-request-id"].startswith("in-")  # requests of one client cannot take another's id
    assert "forwarded" not in told
    assert told["host"] == "app.example:8400"  # what requests are routed by
    names = [name for name, _ in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.1"], "203.0.113.1"),
        (["6.6.6.6, 203.0.113.1"], "203.0.113.1"),
        (["6.6.6.6, 203.0.113.1,10.1.1.1 , 10.2.2.2"], "203.0.113.1"),
        # Several lines are one list, in their order.
        (["6.6.6.6", "203.0.113.1"], "203.0.113.1"),
        (["203.0.113.1", "10.1.1.1", "10.2.2.2"], "203.0.113.1"),
        (["203.0.113.1", ""], "10.0.0.1"),
        # All of them are proxies: the first is as near to the client as anybody knows.
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # With ports, brackets, quotes and zones, as some proxies write them.
        (["203.0.113.1:4711"], "203.0.113.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (['"[2001:db8::1]:4711"'], "2001:db8::1"),
        (["fe80::1%eth0"], "fe80::1"),
        (["::ffff:203.0.113.1"], "203.0.113.1"),
        (["203.0.113.1, ::ffff:10.1.1.1, fd00::5"], "203.0.113.1"),
        # What is no address ends the search: who is behind it is not known.
        (["203.0.113.1, unknown"], "10.0.0.1"),
        (["203.0.113.1, _hidden, 10.1.1.1"], "10.1.1.1"),
        (["203.0.113.1 10.1.1.1"], "10.0.0.1"),
        (["010.0.0.1"], "10.0.0.1"),
        (["[2001:db8::1"], "10.0.0.1"),
        (["2001:db8::1:zz"], "10.0.0.1"),
        (["<script>"], "10.0.0.1"),
        (["1" * 5000], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(values, client):
    assert client_of(*values) == client
    assert client_of(*values, peer=STRANGER) == "203.0.113.9"


def test_a_long_list_is_not_followed_to_its_beginning():
    hops = [f"10.0.1.{number}" for number in range(200)]
    assert client_of(", ".join(["203.0.113.1", *hops])) == hops[-MAX_HOPS]
    assert client_of(", ".join(["203.0.113.1", *hops[: MAX_HOPS - 1]])) == "203.0.113.1"


@pytest.mark.parametrize(
    ("peer", "client", "trusted"),
    [
        (("10.0.0.1", 1), "10.0.0.1", True),
        (("::ffff:10.0.0.1", 1, 0, 0), "10.0.0.1", True),  # a dual-stack listener's IPv4 peer
        (("::ffff:203.0.113.9", 1, 0, 0), "203.0.113.9", False),
        (("fd00::1", 1, 0, 0), "fd00::1", True),
        (("fd00::1%eth0", 1, 0, 3), "fd00::1", True),
        (("::1", 1, 0, 0), "::1", False),
        (("::10.0.0.1", 1, 0, 0), "::a00:1", False),  # not the same as the mapped one
        # No address at all is nobody's that one may have meant to trust, such as this machine.
        ("", UNKNOWN, False),
        (None, UNKNOWN, False),
        ("/run/socket", UNKNOWN, False),
    ],
)
def test_peers_are_known_by_their_address_in_whatever_form(peer, client, trusted):
    assert Forwarding(TRUSTED).peer(peer, secure=False).trusted is trusted
    assert client_of(peer=peer) == client
    assert client_of("198.51.100.7", peer=peer) == ("198.51.100.7" if trusted else client)


def test_a_network_of_mapped_addresses_means_those_addresses():
    forwarding = Forwarding((ipaddress.ip_network("::ffff:10.0.0.0/104"),))
    assert forwarding.peer(("10.9.9.9", 1), secure=False).trusted
    assert not forwarding.peer(("11.0.0.1", 1), secure=False).trusted
    everybody = Forwarding((ipaddress.ip_network("::/0"),))
    assert everybody.peer(("2001:db8::1", 1, 0, 0), secure=False).trusted


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ([], "http"),
        ([("X-Forwarded-Proto", "https")], "https"),
        ([("X-Forwarded-Proto", "HTTPS")], "https"),
        ([("X-Forwarded-Proto", "wss")], "https"),
        ([("X-Forwarded-Proto", "gopher")], "http"),
        ([("X-Forwarded-Proto", "https\thttp")], "http"),
        # Behind one proxy its own entry counts, not what the client put in front of it.
        ([("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-Proto", "https, http")], "http"),
        # Behind two, the outer one's.
        ([("X-Forwarded-For", "203.0.113.1, 10.1.1.1"), ("X-Forwarded-Proto", "https, http")], "https"),
        ([("X-Forwarded-For", "203.0.113.1, 10.1.1.1"), ("X-Forwarded-Proto", "https")], "https"),
        (
            [
                ("X-Forwarded-For", "203.0.113.1, 10.1.1.1"),
                ("X-Forwarded-Proto", "http"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Proto", "http"),
            ],
            "https",
        ),
    ],
)  # fmt: skip
def test_the_scheme_is_that_of_the_proxy_next_to_the_client(headers, scheme):
    assert dict(sent(*headers))["x-forwarded-proto"] == scheme
    assert dict(sent(*headers, peer=STRANGER))["x-forwarded-proto"] == "http"
    assert dict(sent(*headers, peer=STRANGER, secure=True))["x-forwarded-proto"] == "https"


def test_what_a_proxy_does_not_say_is_what_is_seen_here():
    assert (
        dict(sent(("X-Forwarded-For", "203.0.113.1"), secure=True))["x-forwarded-proto"] == "https"
    )
    assert dict(sent(("X-Forwarded-Proto", "https")))["x-forwarded-for"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example:8443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("evil.example, shop.example", "shop.example"),
        ("", "app.example:8400"),
        ("shop.example,", "app.example:8400"),
        ("two words", "app.example:8400"),
        ("user@shop.example", "app.example:8400"),
        ("shop.example/path", "app.example:8400"),
        ("<script>", "app.example:8400"),
        ("shop.example\r\nx-evil: 1", "app.example:8400"),
        ("shop.example\nx-evil: 1", "app.example:8400"),
        ("shop.example\0", "app.example:8400"),
    ],
)
def test_a_forwarded_host_is_a_host_or_is_not_passed_on(value, host):
    assert dict(sent(("X-Forwarded-Host", value)))["x-forwarded-host"] == host


def test_lines_for_strangers_are_made_once_for_a_connection():
    peer = Forwarding().peer(STRANGER, secure=False)
    assert isinstance(peer, Peer)
    assert peer.lines == (
        b"x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: http\r\nx-forwarded-host: "
    )


# ---- on real sockets


def test_a_container_behind_a_trusted_proxy_sees_the_client():
    async def test():
        async with World(hello, trusted=TRUSTED) as world:
            client = await world.connect()
            client.send(
                b"GET / HTTP/1.1\r\nHost: h.example\r\nX-Forwarded-For: 6.6.6.6\r\n"
                b"X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Port: 443\r\n\r\n"
            )
            await client.response()
            (request,) = world.requests
            assert header(request, "x-forwarded-for") == b"203.0.113.1"
            assert header(request, "x-forwarded-port") == b"443"

    run(test)


def test_a_trailer_says_nothing_about_the_client():
    async def test():
        async with World(hello, trusted=TRUSTED) as world:
            client = await world.connect()
            client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
                b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX-Sum: 5\r\n\r\n"
            )
            await client.response("POST")
            assert world.trailers == [(b"x-sum", b"5")]

    run(test)


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_clients_are_told_by_their_address(host):
    async def test():
        async with World(hello) as world:
            try:
                port = await world.gateway.listen(host, 0)
            except OSError as error:
                pytest.skip(f"no IPv6 here: {error}")
            world.port = port
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(
                b"GET / HTTP/1.0\r\nHost: me--app-f.localhost\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
            )
            assert b" 200 " in await reader.readline()
            writer.close()
            assert header(world.requests[0], "x-forwarded-for") == b"::1"

    run(test)


def test_a_connection_that_is_reset_at_once_passes_for_nobody():
    """Its peer cannot be asked for any more; the gateway goes on."""

    async def test():
        loop = asyncio.get_running_loop()
        failures = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        async with World(hello, trusted=TRUSTED) as world:
            for _ in range(50):
                # Connected, spoken and reset before the loop accepts.
                gone = socket.create_connection(("127.0.0.1", world.own_port))
                gone.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
                linger = struct.pack("ii", 1, 0)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                gone.close()
            client = await world.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            head, _ = await client.response()
            assert head.status_code == 200
            assert b"6.6.6.6" not in [header(r, "x-forwarded-for") for r in world.requests]
            client.close()
            async with asyncio.timeout(10):
                while world.gateway.connections:
                    await asyncio.sleep(0.005)
        assert failures == []

    run(test)
