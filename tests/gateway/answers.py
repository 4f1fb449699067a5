"""What containers may answer, and what of it a client may see.

A container runs its owner's code, but it shares connections with everybody's requests: an answer that could be read
in two ways ends there, as a 502, or where its head has gone by then, with a connection that is cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ADDED = re.compile(rb"(?:x-request-id|server-timing): [^\r\n]*\r\n|connection: close\r\n(?=\r\n)")
CUT = "cut"
BAD = "502"


@dataclass(frozen=True)
class Answer:
    """Bytes of a container, which closes behind them, and what they become for a client of HTTP/1.1.

    `seen` is the answer without the lines that the gateway adds; `CUT` where the client must notice that it is not
    whole, and `BAD` where it must see nothing of it.
    """

    name: str
    data: bytes
    seen: bytes | str
    method: bytes = b"POST"


def unadorned(raw: bytes) -> bytes:
    """An answer as a client got it, without the lines that the gateway adds."""
    return ADDED.sub(b"", raw)


def ok(*lines: bytes, body: bytes = b"ok") -> bytes:
    return b"".join((b"HTTP/1.1 200 OK\r\n", *(line + b"\r\n" for line in lines), b"\r\n", body))


def status(line: bytes, body: bytes = b"ok") -> bytes:
    return line + b"\r\nContent-Length: 2\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 2"
CHUNKS = b"2\r\nok\r\n0\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
WHOLE_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def whole(*lines: bytes) -> bytes:
    kept = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 200 OK\r\n" + kept + b"content-length: 2\r\n\r\nok"


REFUSED = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "a body without a head": b"ok",
    "the request": b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
    "two lengths that differ": ok(LENGTH, b"Content-Length: 3"),
    "two lengths that agree": ok(LENGTH, LENGTH),
    "two lengths in one line": ok(b"Content-Length: 2, 2"),
    "length and chunks": ok(LENGTH, CHUNKED, body=CHUNKS),
    "chunks and length": ok(CHUNKED, LENGTH, body=CHUNKS),
    "length and another coding": ok(LENGTH, b"Transfer-Encoding: identity"),
    "length with a plus": ok(b"Content-Length: +2"),
    "length with a minus": ok(b"Content-Length: -2"),
    "length in hexadecimal": ok(b"Content-Length: 0x2"),
    "length beyond 64 bits": ok(b"Content-Length: 18446744073709551618"),
    "length that is empty": ok(b"Content-Length:"),
    "length behind a vertical tab": ok(b"Content-Length: \x0b2"),
    "coding gzip": ok(b"Transfer-Encoding: gzip"),
    "coding identity": ok(b"Transfer-Encoding: identity"),
    "coding xchunked": ok(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "coding gzip before chunked": ok(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "coding gzip behind chunked": ok(b"Transfer-Encoding: chunked, gzip", body=CHUNKS),
    "coding chunked twice": ok(CHUNKED, CHUNKED, body=CHUNKS),
    "coding chunked twice in one line": ok(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "coding that is empty": ok(b"Transfer-Encoding:", body=CHUNKS),
    "bare LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare LF behind the status line": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "bare LF in a value": ok(b"X: a\nSet-Cookie: evil", LENGTH),
    "bare CR in a value": ok(b"X: a\rSet-Cookie: evil", LENGTH),
    "NUL in a value": ok(b"X: a\0b", LENGTH),
    "control character in a value": ok(b"X: a\x01b", LENGTH),
    "bare CR in a name": ok(b"X\rY: a", LENGTH),
    "NUL in a name": ok(b"X\0: a", LENGTH),
    "space before a colon": ok(b"X : a", LENGTH),
    "name that is no token": ok(b"X(Y): a", LENGTH),
    "line without a colon": ok(b"foo", LENGTH),
    "folded value": ok(b"X: a", b" b", LENGTH),
    "folded status line": ok(b" X: a", LENGTH),
    "NUL in the reason": status(b"HTTP/1.1 200 O\0K"),
    "bare CR in the reason": status(b"HTTP/1.1 200 O\rK"),
    "control character in the reason": status(b"HTTP/1.1 200 O\x1b[31mK"),
    "status of two digits": status(b"HTTP/1.1 20 OK"),
    "status of four digits": status(b"HTTP/1.1 2000 OK"),
    "status 000": status(b"HTTP/1.1 000 OK"),
    "status 099": status(b"HTTP/1.1 099 OK"),
    "status that is no number": status(b"HTTP/1.1 abc OK"),
    "status with a minus": status(b"HTTP/1.1 -20 OK"),
    "two spaces before the status": status(b"HTTP/1.1  200 OK"),
    "version HTTP/1.2": status(b"HTTP/1.2 200 OK"),
    "version HTTP/2.0": status(b"HTTP/2.0 200 OK"),
    "version HTTP/0.9": status(b"HTTP/0.9 200 OK"),
    "version in lower case": status(b"http/1.1 200 OK"),
    "switch of protocols that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "switch of protocols to a WebSocket that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}

INCOMPLETE = {
    "length that the body does not reach": ok(b"Content-Length: 3"),
    "chunks without their end": ok(CHUNKED, body=b"2\r\nok\r\n"),
    "half a chunk": ok(CHUNKED, body=b"3\r\nok"),
    "chunk size in hexadecimal with 0x": ok(CHUNKED, body=b"0x2\r\nok\r\n0\r\n\r\n"),
    "chunk size with a minus": ok(CHUNKED, body=b"-2\r\nok\r\n0\r\n\r\n"),
    "chunk size with a space": ok(CHUNKED, body=b"2 \r\nok\r\n0\r\n\r\n"),
    "chunk size with a bare LF": ok(CHUNKED, body=b"2\nok\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": ok(CHUNKED, body=b"10000000000000002\r\nok\r\n0\r\n\r\n"),
    "chunk longer than its size": ok(CHUNKED, body=b"1\r\nok\r\n0\r\n\r\n"),
    "chunks that end with a bare LF": ok(CHUNKED, body=b"2\r\nok\r\n0\r\n\n"),
    "trailer that is a length": ok(CHUNKED, body=b"2\r\nok\r\n0\r\n" + LENGTH + b"\r\n\r\n"),
    "trailer with a NUL": ok(CHUNKED, body=b"2\r\nok\r\n0\r\nX: \0\r\n\r\n"),
}

PASSED = {
    "length": (ok(LENGTH), WHOLE),
    "length among blanks": (ok(b"Content-Length:\t 2 \t"), WHOLE),
    "chunks": (ok(CHUNKED, body=CHUNKS), WHOLE_CHUNKED),
    "chunks in another case": (ok(b"TRANSFER-ENCODING: Chunked ", body=CHUNKS), WHOLE_CHUNKED),
    "chunk extensions": (ok(CHUNKED, body=b"2;a=b\r\nok\r\n0;c\r\n\r\n"), WHOLE_CHUNKED),
    "neither, until the end": (ok(), WHOLE_CHUNKED),
    "HTTP/1.0, until the end": (b"HTTP/1.0 200 OK\r\n\r\nok", WHOLE_CHUNKED),
    "status without a reason": (
        status(b"HTTP/1.1 200"),
        b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok",
    ),
    "status nobody knows": (
        status(b"HTTP/1.1 799 J\xfcst\tSo"),
        b"HTTP/1.1 799 J\xfcst\tSo\r\ncontent-length: 2\r\n\r\nok",
    ),
    "value that is not ASCII": (ok(b"X: \xc3\xa4\xff", LENGTH), whole(b"X: \xc3\xa4\xff")),
    "headers of one name": (
        ok(b"Set-Cookie: a", b"X: b", b"Set-Cookie: c", LENGTH),
        whole(b"Set-Cookie: a", b"X: b", b"Set-Cookie: c"),
    ),
    "what Connection names": (
        ok(b"X-A: 1", b"Connection: x-a, Keep-Alive", b"B: 2", b"connection: b", b"C: 3", LENGTH),
        whole(b"C: 3"),
    ),
    "fields for one hop": (
        ok(b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"Upgrade: h2c", LENGTH),
        WHOLE,
    ),
    "an id of its own": (ok(b"X-Request-Id: mine", LENGTH), WHOLE),
    "a second answer": (ok(LENGTH) + EVIL, WHOLE),
    "more than its length": (ok(LENGTH, body=b"okay"), WHOLE),
    "more than its chunks": (ok(CHUNKED, body=CHUNKS + CHUNKS), WHOLE_CHUNKED),
    "a second answer after the last": (ok(b"Connection: close", LENGTH) + EVIL, WHOLE),
    "trailers": (
        ok(b"Trailer: X-Sum", CHUNKED, body=b"2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n",
    ),
    "trailers that mean something in a head": (
        ok(
            CHUNKED,
            body=b"2\r\nok\r\n0\r\nSet-Cookie: a\r\nContent-Type: b\r\nX-Sum: 7\r\nConnection: close\r\n"
            b"X-Request-Id: c\r\nLocation: d\r\nX-Portico-Ended: 1\r\nCache-Control: e\r\n\r\n",
        ),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\nX: a\r\n\r\n", b"HTTP/1.1 204 No Content\r\nX: a\r\n\r\n"),
    "204 with a length": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ),
    "204 with a body": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 39\r\n\r\n" + EVIL,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ),
    "204 with chunks": (
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ),
    "304 with the length of what it stands for": (
        b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n',
        b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\ncontent-length: 5\r\n\r\n',
    ),
    "304 with chunks": (
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ),
    "205": (
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
    ),
    "early hints, twice": (
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 2 + ok(LENGTH),
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 2 + WHOLE,
    ),
    "early hints with a length": (
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + ok(LENGTH),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + WHOLE,
    ),
    "426 names the protocol": (
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 426 Upgrade Required\r\nupgrade: foo\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok",
    ),
}

HEADS = {
    "length of what HEAD leaves out": (
        ok(b"Content-Length: 5", body=b""),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    ),
    "chunks that HEAD leaves out": (ok(CHUNKED, body=b""), b"HTTP/1.1 200 OK\r\n\r\n"),
    "no length, to HEAD": (ok(body=b""), b"HTTP/1.1 200 OK\r\n\r\n"),
    "body to HEAD": (ok(LENGTH), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
    "chunks to HEAD": (ok(CHUNKED, body=CHUNKS), b"HTTP/1.1 200 OK\r\n\r\n"),
    "body until the end, to HEAD": (ok(), b"HTTP/1.1 200 OK\r\n\r\n"),
}

ANSWERS = [
    *(Answer(name, data, BAD) for name, data in REFUSED.items()),
    *(Answer(name, data, CUT) for name, data in INCOMPLETE.items()),
    *(Answer(name, data, seen) for name, (data, seen) in PASSED.items()),
    *(Answer(name, data, seen, b"HEAD") for name, (data, seen) in HEADS.items()),
]
