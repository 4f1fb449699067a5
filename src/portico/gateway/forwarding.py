"""What a container is told about the client: ``X-Forwarded-*``, ``X-Request-Id``, ``traceparent``."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence

from portico.gateway.head import HOST_FIELD, RequestHead

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 16  # proxies followed through one request's headers, so that a long list costs no more
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # IPv4 addresses as a dual-stack socket shows them
UNKNOWN = "0.0.0.0"  # the peer of a connection that was over before it could be asked
SCHEMES = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
"""What proxies call the scheme; some have names of their own for WebSockets."""
REWRITTEN = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
NEVER_TOLD = frozenset({*REWRITTEN, b"forwarded"})
"""Not passed on from anybody: most proxies leave a client's ``Forwarded`` (RFC 7239) as it is."""


class Peer:
    """The other end of one connection: its address, and whether it is a trusted proxy."""

    __slots__ = ("address", "lines", "scheme", "trusted")

    def __init__(self, address: str, scheme: bytes, *, trusted: bool) -> None:
        self.address = address
        self.scheme = scheme
        self.trusted = trusted
        # The same for all requests of the connection, but for the host, which comes last.
        self.lines = b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: " % (
            address.encode(),
            scheme,
        )


class Forwarding:
    """Writes the header lines about a request's client.

    What a client says about itself is dropped, unless it connects from one of the `trusted` networks: then the
    client is the last address of ``X-Forwarded-For`` that is not itself a trusted proxy.
    """

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(map(_unmapped, trusted))
        self._random_bytes = random.Random(random.SystemRandom().getrandbits(128)).randbytes

    def request_id(self) -> bytes:
        """An id of 128 bits for one request, ``in-`` and hexadecimal digits."""
        return b"in-" + self._random_bytes(16).hex().encode()

    def peer(self, name: object, *, secure: bool) -> Peer:
        """Who is at the other end of a connection; `name` is the socket's for it, `secure` says that it is TLS."""
        address = address_in(str(name[0])) if isinstance(name, tuple) else None
        trusted = address is not None and self._trusts(address)
        shown = UNKNOWN if address is None else str(address)
        return Peer(shown, b"https" if secure else b"http", trusted=trusted)

    def lines(self, head: RequestHead, peer: Peer) -> bytes:
        """Header lines for `head`, which came from `peer`."""
        if peer.trusted and head.forwarded:
            return self._as_told(head, peer)
        return _lines(peer, head.host or b"", head)

    def client(self, head: RequestHead, peer: Peer) -> str:
        """The address of the client whose request came from `peer`."""
        if not (peer.trusted and head.forwarded):
            return peer.address
        told = b",".join(value for name, value in head.forwarded if name == b"x-forwarded-for")
        return self._client([entry.strip() for entry in told.split(b",")], peer.address)[0]

    def _as_told(self, head: RequestHead, peer: Peer) -> bytes:
        """The same lines and some more, as the proxies tell.

        Each proxy's word stands at its own place from the end of a list. What a client sent ahead of a proxy
        that appends to it lies further in front, where nobody looks.
        """
        lists: dict[bytes, list[bytes]] = {}
        others = []
        for name, value in head.forwarded:
            if name in REWRITTEN:  # several lines are one list (RFC 9110 §5.3)
                entries = (entry.strip() for entry in value.split(b","))
                lists.setdefault(name, []).extend(entries)
            elif name not in NEVER_TOLD:
                others.append(b"%b: %b\r\n" % (name, value))
        client, hops = self._client(lists.get(b"x-forwarded-for", []), peer.address)
        scheme = SCHEMES.get(_at(lists.get(b"x-forwarded-proto"), hops).lower(), peer.scheme)
        told = _at(lists.get(b"x-forwarded-host"), hops)
        host = told if told and HOST_FIELD.fullmatch(told) else head.host or b""
        return _lines(Peer(client, scheme, trusted=True), host, head) + b"".join(others)

    def _client(self, listed: Sequence[bytes], client: str) -> tuple[str, int]:
        """The client, and the number of proxies that tell of it."""
        hops = 0
        for entry in reversed(listed[-MAX_HOPS:]):
            address = address_in(entry.decode("latin-1"))
            if address is None:
                break
            client, hops = str(address), hops + 1
            if not self._trusts(address):
                break
        return client, max(1, hops)

    def _trusts(self, address: IPAddress) -> bool:
        return any(address in network for network in self._trusted)


def address_in(text: str) -> IPAddress | None:
    """The IP address that `text` is, with or without a port, brackets, quotes or a zone; None where it is none.

    IPv4 in IPv6 comes out as IPv4, however the socket or the proxy shows it.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text, closed, _ = text[1:].partition("]")
        if not closed:
            return None
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _lines(peer: Peer, host: bytes, head: RequestHead) -> bytes:
    number = head.request_id
    if head.traceparent is not None:
        return b"%b%b\r\nx-request-id: %b\r\n" % (peer.lines, host, number)
    # A trace that begins here has the request's own digits, so that either leads to the other.
    return b"%b%b\r\nx-request-id: %b\r\ntraceparent: 00-%b-%b-01\r\n" % (
        peer.lines,
        host,
        number,
        number[3:],
        number[19:],
    )


def _at(entries: list[bytes] | None, hops: int) -> bytes:
    """What the proxy `hops` from the end wrote; the first entry, where only some of them write one."""
    return entries[-min(hops, len(entries))] if entries else b""


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        address = int(network.network_address) & 0xFFFF_FFFF
        return ipaddress.IPv4Network((address, network.prefixlen - MAPPED.prefixlen))
    return network
