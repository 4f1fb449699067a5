"""What a container is told about the client: ``X-Forwarded-*``, ``X-Request-Id``, ``traceparent``."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence

from portico.gateway.head import RequestHead

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Forwarding:
    """Writes the header lines about a request's client.

    What a client says about itself is dropped, unless it connects from one of the `trusted` networks: then the
    client is the last address of ``X-Forwarded-For`` that is not itself a trusted proxy.
    """

    def __init__(self, trusted: Sequence[Network] = (), scheme: bytes = b"http") -> None:
        self._trusted = tuple(trusted)
        self._scheme = scheme
        self._random_bytes = random.Random(random.SystemRandom().getrandbits(128)).randbytes

    def request_id(self) -> bytes:
        """An id of 128 bits for one request, ``in-`` and hexadecimal digits."""
        return b"in-" + self._random_bytes(16).hex().encode()

    def lines(self, head: RequestHead, peer: str) -> bytes:
        """Header lines for `head`, which came from the address `peer`."""
        client, proto, host = peer, self._scheme, head.host or b""
        if self._trusted and head.forwarded and self._trusts(peer):
            client, proto, host = self._as_told(head, client, proto, host)
        lines = (
            b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\nx-request-id: %b\r\n"
            % (client.encode(), proto, host, head.request_id)
        )
        if head.traceparent is None:
            # A trace that begins here has the request's own digits, so that either leads to the other.
            digits = head.request_id[3:]
            lines += b"traceparent: 00-%b-%b-01\r\n" % (digits, digits[16:])
        return lines

    def _as_told(
        self, head: RequestHead, client: str, proto: bytes, host: bytes
    ) -> tuple[str, bytes, bytes]:
        told = dict(head.forwarded)
        hops = [
            hop.strip() for hop in told.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        ]
        for hop in reversed(hops):
            if not _is_address(hop):
                break
            client = hop
            if not self._trusts(hop):
                break
        if told.get(b"x-forwarded-proto") in (b"http", b"https"):
            proto = told[b"x-forwarded-proto"]
        return client, proto, told.get(b"x-forwarded-host", host)

    def _trusts(self, address: str) -> bool:
        return _is_address(address) and any(
            ipaddress.ip_address(address) in network for network in self._trusted
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
