"""Requests that parsers are known to disagree about, each with what must become of it.

A case is refused, with nothing at the container that could pass for a request, or it is exactly what a container
sees. There is no third outcome: what two parsers read differently is how one request is smuggled inside another.
Every case is followed by `NEXT` on its connection: behind a refusal it must go unheard, and behind a request that
passed it must arrive as exactly itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"


class Seen(NamedTuple):
    """A request as a container sees it; `lines` are its header lines but for those the gateway adds."""

    method: bytes
    target: bytes
    lines: tuple[bytes, ...]
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()


NEXT_SEEN = Seen(b"GET", b"/next", (b"host: next",))


@dataclass(frozen=True)
class Case:
    """Bytes, and the status they are refused with, or the requests that they are."""

    name: str
    data: bytes
    refused: int | None = None
    seen: tuple[Seen, ...] = field(default=())
    streamed: bool = False
    """Whether the fault is in the body: then the head has gone to the container, which never sees the end."""
    last: bool = False
    """Whether the client has said that nothing follows, so that what does is not heard."""

    @property
    def statuses(self) -> list[int]:
        """Of the answers up to the one to `NEXT`, where that is heard, from a container that says 200."""
        last = [200] if self.refused is None else [self.refused]
        return [200] * len(self.seen) + last * (not self.last)

    @property
    def requests(self) -> list[Seen]:
        """What reaches the container, `NEXT` included where that is heard."""
        return [*self.seen, *[NEXT_SEEN] * self.in_step]

    @property
    def in_step(self) -> bool:
        """Whether the connection goes on."""
        return self.refused is None and not self.last


def get(*lines: bytes) -> bytes:
    return b"".join(
        (b"GET / HTTP/1.1\r\nHost: h\r\n", *(line + b"\r\n" for line in lines), b"\r\n")
    )


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = (b"POST / HTTP/1.1\r\nHost: h\r\n", *(line + b"\r\n" for line in lines), b"\r\n")
    return b"".join((*head, body))


def got(*lines: bytes, method: bytes = b"GET", target: bytes = b"/", host: bytes = b"h") -> Seen:
    return Seen(method, target, (b"host: " + host, *lines))


def posted(*lines: bytes, body: bytes = b"hello", chunked: bool = False, trailers=()) -> Seen:
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    return Seen(b"POST", b"/", (b"host: h", *lines, framing), body, tuple(trailers))


def refuse(status: int, cases: dict[str, bytes], *, streamed: bool = False) -> list[Case]:
    return [Case(name, data, status, streamed=streamed) for name, data in cases.items()]


def accept(cases: dict[str, tuple[bytes, Seen]]) -> list[Case]:
    return [Case(name, data, seen=(seen,)) for name, (data, seen) in cases.items()]


HELLO = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def line(start: bytes) -> bytes:
    return start + b"\r\nHost: h\r\n\r\n"


# -- one length, and one only

LENGTHS = refuse(
    400,
    {
        "CL.TE": post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG"),
        "TE.CL": post(CHUNKED, b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED + b"0\r\n\r\n"),
        "CL.TE with a length of nothing": post(b"Content-Length: 0", CHUNKED, body=HELLO),
        "TE.CL.TE": post(CHUNKED, b"Content-Length: 5", CHUNKED, body=HELLO),
        "CL.TE where the coding is not chunked": post(
            b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"
        ),
        "two lengths that differ": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
        "two lengths that agree": post(b"Content-Length: 5", b"content-length: 5", body=b"hello"),
        "two lengths in one line": post(b"Content-Length: 5, 5", body=b"hello"),
        "two lengths in one line that differ": post(b"Content-Length: 5, 6", body=b"hello!"),
        "two lengths without a comma": post(b"Content-Length: 5 5", body=b"hello"),
        "two lengths with a tab": post(b"Content-Length: 5\t5", body=b"hello"),
        "length and a comma": post(b"Content-Length: 5,", body=b"hello"),
        "length with a plus": post(b"Content-Length: +5", body=b"hello"),
        "length with a minus": post(b"Content-Length: -5", body=b"hello"),
        "length of minus nothing": post(b"Content-Length: -0"),
        "length in hexadecimal": post(b"Content-Length: 0x5", body=b"hello"),
        "length in hexadecimal digits": post(b"Content-Length: a", body=b"helloworld"),
        "length with an exponent": post(b"Content-Length: 5e0", body=b"hello"),
        "length with a fraction": post(b"Content-Length: 5.0", body=b"hello"),
        "length with an underscore": post(b"Content-Length: 1_0", body=b"helloworld"),
        "length in quotes": post(b'Content-Length: "5"', body=b"hello"),
        "length in digits that are not ASCII": post("Content-Length: ５".encode(), body=b"hello"),
        "length in Arabic digits": post("Content-Length: ٥".encode(), body=b"hello"),
        "length with a superscript": post(b"Content-Length: 5\xb2", body=b"hello"),
        "length that is empty": post(b"Content-Length:", body=b"hello"),
        "length of blanks": post(b"Content-Length:  \t ", body=b"hello"),
        "length behind a vertical tab": post(b"Content-Length: \x0b5", body=b"hello"),
        "length before a form feed": post(b"Content-Length: 5\x0c", body=b"hello"),
        "length with a NUL": post(b"Content-Length: 5\x00", body=b"hello"),
        "length beyond 64 bits": post(b"Content-Length: 18446744073709551621", body=b"hello"),
        "length of a hundred digits": post(b"Content-Length: " + b"9" * 100, body=b"hello"),
        "length in a folded line": post(b"Content-Length:", b" 5", body=b"hello"),
        "length before a space and a colon": post(b"Content-Length : 5", body=b"hello"),
        "length in a trailer": post(CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 40\r\n\r\n"),
    },
) + accept(
    {
        "length": (post(b"Content-Length: 5", body=b"hello"), posted()),
        "length in another case": (post(b"cOnTeNt-LeNgTh: 5", body=b"hello"), posted()),
        "length with leading zeros": (post(b"Content-Length: 00005", body=b"hello"), posted()),
        "length with more zeros than Python reads": (
            post(b"Content-Length: " + b"0" * 5000 + b"5", body=b"hello"),
            posted(),
        ),
        "length among blanks": (post(b"Content-Length: \t 5 \t", body=b"hello"), posted()),
        "length right behind the colon": (post(b"Content-Length:5", body=b"hello"), posted()),
        "length of nothing": (post(b"Content-Length: 0"), posted(body=b"")),
        "length in a GET": (
            get(b"Content-Length: 5") + b"hello",
            Seen(b"GET", b"/", (b"host: h", b"content-length: 5"), b"hello"),
        ),
        "body that looks like a request": (
            post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
            posted(body=SMUGGLED),
        ),
        "no length": (post(), Seen(b"POST", b"/", (b"host: h",))),
    }
)

# -- Transfer-Encoding: chunked, or nothing

CODINGS = (
    refuse(
        400,
        {
            f"coding {coding!r}"[:60]: post(b"Transfer-Encoding:" + coding, body=HELLO)
            for coding in (
                b" xchunked",
                b" chunkedx",
                b" chunke",
                b" chunked, identity",
                b" identity, chunked",
                b" gzip, chunked",
                b" chunked, gzip",
                b" chunked, chunked",
                b" chunked chunked",
                b" chunked,",
                b" ,chunked",
                b" , chunked",
                b" chunked;q=1",
                b" chunked; a=b",
                b' "chunked"',
                b" 'chunked'",
                b" chun ked",
                b" chun\tked",
                b" \x0bchunked",
                b" chunked\x0b",
                b" \x0cchunked",
                b" chunked\x0c",
                b" \xa0chunked",
                b" chunked\xa0",
                b" chunked\x00",
                b" \x00chunked",
                b" \xef\xbb\xbfchunked",
                " chunKed".replace("K", "\u212a").encode(),  # the Kelvin sign, a k to Unicode
                b" identity",
                b" gzip",
                b" trailers",
                b" cow",
                b"",
                b"  ",
                b": chunked",
                b"=chunked",
                b"\r\n chunked",
                b"\r\n\tchunked",
                b" chunked\r\n , identity",
                b" chunked\r\nTransfer-Encoding: chunked",
                b" chunked\r\nTransfer-Encoding: identity",
                b" identity\r\nTransfer-Encoding: chunked",
                b" chunked\r\nTransfer-encoding: cow",
                b" cow\r\nTransfer-encoding: chunked",
                b" \r\nTransfer-Encoding: chunked",
                b" chunked\nX: y",
                b" chunked\rX: y",
                b"\nchunked",
            )
        },
    )
    + refuse(
        400,
        {
            f"coding named {name!r}": post(name + b": chunked", b"Content-Length: 15", body=HELLO)
            for name in (
                b"Transfer-Encoding ",
                b"Transfer-Encoding\t",
                b" Transfer-Encoding",
                b"\tTransfer-Encoding",
                b"Transfer-Encoding\x00",
                b"Transfer\x00-Encoding",
                b"Transfer Encoding",
                b"Transfer-Encoding\x0b",
                b"\x0bTransfer-Encoding",
                b"Transfer-Encoding\xff",
                b"X\nTransfer-Encoding",
                b"X: y\nTransfer-Encoding",
                b"X: y\rTransfer-Encoding",
                b"X:\nTransfer-Encoding",
                b"Transfer-Encoding\r",
                b"(Transfer-Encoding)",
                b'"Transfer-Encoding"',
                b"[Transfer-Encoding]",
                b"Transfer/Encoding",
                b"Transfer-Encoding@",
            )
        },
    )
    + [
        Case(
            "coding for HTTP/1.0",
            b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO,
            400,
        ),
        *accept(
            {
                "coding": (post(CHUNKED, body=HELLO), posted(chunked=True)),
                "coding in another case": (
                    post(b"TRANSFER-ENCODING: cHuNkEd", body=HELLO),
                    posted(chunked=True),
                ),
                "coding among blanks": (
                    post(b"Transfer-Encoding: \t chunked ", body=HELLO),
                    posted(chunked=True),
                ),
                # Where names are read as CGI variables, an underscore is a hyphen: these would be the real ones there.
                "coding with an underscore": (
                    post(b"Transfer_Encoding: chunked", b"Content-Length: 15", body=HELLO),
                    posted(body=HELLO),
                ),
                "length with an underscore in its name": (
                    post(b"Content_Length: 40", b"Content-Length: 5", body=b"hello"),
                    posted(),
                ),
                "coding under a name of one's own": (
                    post(b"X-Transfer-Encoding: chunked", b"Content-Length: 15", body=HELLO),
                    posted(b"X-Transfer-Encoding: chunked", body=HELLO),
                ),
                "TE is not a transfer coding": (get(b"TE: chunked"), got()),
            }
        ),
    ]
)

# -- chunks

CHUNKS = (
    refuse(
        400,
        {
            f"chunk {chunk!r}"[:60]: post(CHUNKED, body=chunk + b"0\r\n\r\n")
            for chunk in (
                b"\r\n",
                b"\r\nhello\r\n",
                b"0x5\r\nhello\r\n",
                b"x5\r\nhello\r\n",
                b"5h\r\nhello\r\n",
                b"+5\r\nhello\r\n",
                b"-5\r\nhello\r\n",
                b"-0\r\n",
                b"5 \r\nhello\r\n",
                b" 5\r\nhello\r\n",
                b"5\t\r\nhello\r\n",
                b"5\x0b\r\nhello\r\n",
                b"5 5\r\nhello\r\n",
                b"5,5\r\nhello\r\n",
                b"5.0\r\nhello\r\n",
                b"1_0\r\nhello\r\n",
                b'"5"\r\nhello\r\n',
                b"g\r\nhello\r\n",
                b"5\x00\r\nhello\r\n",
                b"\x005\r\nhello\r\n",
                b"\xef\xbc\x95\r\nhello\r\n",
                b"10000000000000005\r\nhello\r\n",
                b"100000000000000000000000000000005\r\nhello\r\n",
                b"5\nhello\r\n",
                b"5\rhello\r\n",
                b"5\r\rhello\r\n",
                b"5\n\rhello\r\n",
                b"5\r\r\nhello\r\n",
                b"5\r\nhello",
                b"5\r\nhello\n",
                b"5\r\nhello\r",
                b"5\r\nhello\n\r",
                b"5\r\nhello \r\n",
                b"5\r\nhelloworld\r\n",
                b"5\r\nhell\r\n",
                b"5\r\nhello\r\n\r\n",
                b"5;\r\nhello\r\n",
                b"5;a\nhello\r\n",
                b"5;a\rb\r\nhello\r\n",
                b"5;a=b\nhello\r\n",
                b"5;a=b\r5\r\nhello\r\n",
                b'5;a="\n"\r\nhello\r\n',
                b'5;a="\r\n"\r\nhello\r\n',
                b'5;a="\r\nhello\r\n',
                b"5;a=\x00\r\nhello\r\n",
                b"5;a=\x01\r\nhello\r\n",
                b"5;\xff\r\nhello\r\n",
                b"5; a\r\nhello\r\n",
                b"5 ;a\r\nhello\r\n",
                b"5 a\r\nhello\r\n",
                b";a\r\nhello\r\n",
            )
        },
        streamed=True,
    )
    + refuse(
        400,
        {
            f"end of chunks {end!r}"[:60]: post(CHUNKED, body=b"5\r\nhello\r\n" + end)
            for end in (
                b"0\n\n",
                b"0\r\n\n",
                b"0\n\r\n",
                b"0\r\n\r",
                b"0\r\r\n",
                b"0 \r\n\r\n",
                b"0x0\r\n\r\n",
                b"-0\r\n\r\n",
                b"0;\r\n\r\n",
                b"0\r\nX: y\n\r\n",
                b"0\r\nX: y\rZ: z\r\n\r\n",
                b"0\r\n X: y\r\n\r\n",
                b"0\r\nX: y\r\n z\r\n\r\n",
                b"0\r\nX : y\r\n\r\n",
                b"0\r\nX(: y\r\n\r\n",
                b"0\r\nX: \x00\r\n\r\n",
                b"0\r\n: y\r\n\r\n",
                b"0\r\nfoo\r\n\r\n",
                b"0\r\n\x00\r\n\r\n",
                b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"0\r\nContent-Length: 5\r\n\r\n",
            )
        },
        streamed=True,
    )
    + accept(
        {
            "chunk with a leading zero": (
                post(CHUNKED, body=b"00000005\r\nhello\r\n0\r\n\r\n"),
                posted(chunked=True),
            ),
            "chunk in upper and lower case": (
                post(CHUNKED, body=b"A\r\nhelloworld\r\na\r\nhelloworld\r\n0\r\n\r\n"),
                posted(body=b"helloworld" * 2, chunked=True),
            ),
            "chunks of one byte": (
                post(CHUNKED, body=b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n"),
                posted(chunked=True),
            ),
            "chunk that holds line ends": (
                post(CHUNKED, body=b"9\r\n0\r\n\r\n\r\n\n\r\r\n0\r\n\r\n"),
                posted(body=b"0\r\n\r\n\r\n\n\r", chunked=True),
            ),
            "last chunk of many zeros": (
                post(CHUNKED, body=b"5\r\nhello\r\n0000\r\n\r\n"),
                posted(chunked=True),
            ),
            "no chunk but the last": (
                post(CHUNKED, body=b"0\r\n\r\n"),
                posted(body=b"", chunked=True),
            ),
            "chunk extension": (
                post(CHUNKED, body=b"5;a\r\nhello\r\n0;b=c\r\n\r\n"),
                posted(chunked=True),
            ),
            "chunk extension in quotes": (
                post(CHUNKED, body=b'5;a=b;c="d e\\"f";g\r\nhello\r\n0\r\n\r\n'),
                posted(chunked=True),
            ),
            "trailers": (
                post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n"),
                posted(chunked=True, trailers=((b"X-Sum", b"7"), (b"X-Sum", b"8"))),
            ),
            "trailers that mean something in a head": (
                post(
                    CHUNKED,
                    body=b"5\r\nhello\r\n0\r\nHost: evil\r\nX_Forwarded_For: 6\r\nX_Forwarded_Port: 6\r\nX-Forwarded-For: 6\r\n"
                    b"Authorization: a\r\nCookie: a\r\nExpect: a\r\nX-Portico-Input: 9\r\nX-Sum: 7\r\n\r\n",
                ),
                posted(chunked=True, trailers=((b"X-Sum", b"7"),)),
            ),
        }
    )
)

# -- line ends, and what stands at the edges of lines

LINES = (
    refuse(
        400,
        {
            "bare LF behind the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
            "bare CR behind the request line": b"GET / HTTP/1.1\rHost: h\r\n\r\n",
            "bare LF behind a header": b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
            "bare LF behind the last header": b"GET / HTTP/1.1\r\nHost: h\n\r\n",
            "bare CR behind a header": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
            "bare CR at the end of a value": b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
            "bare LF that ends the head": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
            "bare CR that ends the head": b"GET / HTTP/1.1\r\nHost: h\r\n\r",
            "bare CR before the end of the head": b"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n",
            "bare LF everywhere": b"GET / HTTP/1.1\nHost: h\n\n",
            "bare CR everywhere": b"GET / HTTP/1.1\rHost: h\r\r",
            "LF and CR the wrong way round": b"GET / HTTP/1.1\n\rHost: h\n\r\n\r",
            "bare LF in a value": get(b"X: a\nb"),
            "bare CR in a value": get(b"X: a\rb"),
            "bare LF in a name": get(b"X\nY: a"),
            "bare CR in a name": get(b"X\rY: a"),
            "bare LF in the target": line(b"GET /a\nb HTTP/1.1"),
            "bare CR in the target": line(b"GET /a\rb HTTP/1.1"),
            "NUL before the request": b"\0" + get(),
            "space before the request": b" " + get(),
            "NUL in a value": get(b"X: a\0b"),
            "NUL in a name": get(b"X\0: a"),
            "NUL in the target": line(b"GET /a\0b HTTP/1.1"),
            "NUL behind the head": b"GET / HTTP/1.1\r\nHost: h\r\n\0\r\n",
            "control character in a value": get(b"X: a\x01b"),
            "DEL in a value": get(b"X: a\x7fb"),
            "vertical tab before a value": get(b"X: \x0ba"),
            "escape in a value": get(b"X: \x1b[31m"),
            "folded value": get(b"X: a", b" b"),
            "folded value with a tab": get(b"X: a", b"\tb"),
            "folded empty value": get(b"X:", b" b"),
            "fold of nothing": get(b"X: a", b" "),
            "folded host": b"GET / HTTP/1.1\r\nHost:\r\n h\r\n\r\n",
            "folded request line": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
            "folded request line with a tab": b"GET / HTTP/1.1\r\n\tX: y\r\nHost: h\r\n\r\n",
            "space before a colon": get(b"X : a"),
            "tab before a colon": get(b"X\t: a"),
            "space in a name": get(b"X Y: a"),
            "space before the colon of Host": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "empty name": get(b": a"),
            "line without a colon": get(b"foo"),
            "line of a colon": get(b":"),
            "second request line": get(b"GET /smuggled HTTP/1.1"),
        },
    )
    + refuse(
        400,
        {
            f"name with {character!r}": get(b"X" + character + b"Y: a")
            for character in [bytes((c,)) for c in b'"(),/;<=>?@[\\]{}\x7f\x80\xff']
        },
    )
    + accept(
        {
            "name of every token character": (
                get(b"!#$%&'*+-.^_`|~09azAZ: a"),
                got(b"!#$%&'*+-.^_`|~09azAZ: a"),
            ),
            "empty value": (get(b"X:"), got(b"X: ")),
            "value among blanks": (get(b"X: \t a b\tc"), got(b"X: a b\tc")),
            "value that is not ASCII": (
                get("X: ä\xa0".encode() + b"\xff"),
                got("X: ä\xa0".encode() + b"\xff"),
            ),
            "value with colons": (get(b"X: a:b: c"), got(b"X: a:b: c")),
            "many headers of one name": (
                get(b"A: 1", b"B: 2", b"a: 3"),
                got(b"A: 1", b"B: 2", b"a: 3"),
            ),
            # Before a request line nothing can be told apart by line ends: these are skipped (RFC 9112 §2.2).
            "empty line before the request": (b"\r\n" + get(), got()),
            "bare LF before the request": (b"\n" + get(), got()),
            "bare CR before the request": (b"\r" + get(), got()),
            "empty lines of every kind before the request": (b"\r\n\n\r\r\n" + get(), got()),
        }
    )
)

# -- the request line

REQUEST_LINES = (
    refuse(
        400,
        {
            "no target": line(b"GET HTTP/1.1"),
            "two spaces for a target": line(b"GET  HTTP/1.1"),
            "space behind the version": line(b"GET / HTTP/1.1 "),
            "tab behind the method": line(b"GET\t/ HTTP/1.1"),
            "tab behind the target": line(b"GET /\tHTTP/1.1"),
            "vertical tab behind the method": line(b"GET\x0b/ HTTP/1.1"),
            "form feed in the target": line(b"GET /\x0c HTTP/1.1"),
            "space in the target": line(b"GET /a b HTTP/1.1"),
            "version twice": line(b"GET / HTTP/1.1 HTTP/1.1"),
            "method in lower case": line(b"get / HTTP/1.1"),
            "method in mixed case": line(b"Get / HTTP/1.1"),
            "method with a NUL": line(b"GE\0T / HTTP/1.1"),
            "method that nobody knows": line(b"GETT / HTTP/1.1"),
            "method in quotes": line(b'"GET" / HTTP/1.1'),
            "no method": line(b"/ HTTP/1.1"),
            "method of a thousand letters": line(b"A" * 1000 + b" / HTTP/1.1"),
            "version in lower case": line(b"GET / http/1.1"),
            "version in mixed case": line(b"GET / HTtP/1.1"),
            "version of one digit": line(b"GET / HTTP/1"),
            "version of two digits": line(b"GET / HTTP/1.10"),
            "version with leading zero": line(b"GET / HTTP/01.1"),
            "version with a plus": line(b"GET / HTTP/+1.1"),
            "version with a comma": line(b"GET / HTTP/1,1"),
            "version with a space": line(b"GET / HTTP/ 1.1"),
            "version that is empty": line(b"GET / HTTP/"),
            "version with a suffix": line(b"GET / HTTP/1.1x"),
            "version of something else": line(b"GET / XHTTP/1.1"),
            "version of ICE": line(b"GET / ICE/1.0"),
            "version HTTP/1.2": line(b"GET / HTTP/1.2"),
            "version HTTP/3.0": line(b"GET / HTTP/3.0"),
            "method of RTSP for HTTP": line(b"DESCRIBE / HTTP/1.1"),
            "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
            "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
            "PROXY protocol": b"PROXY TCP4 6.6.6.6 10.0.0.1 1 80\r\n" + get(),
            "response": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "target with a fragment": line(b"GET /a#b HTTP/1.1"),
            "target with a raw UTF-8 letter": line("GET /ü HTTP/1.1".encode()),
            "target with a byte of Latin-1": line(b"GET /\xff HTTP/1.1"),
            "target with a control character": line(b"GET /\x01 HTTP/1.1"),
            "target with DEL": line(b"GET /\x7f HTTP/1.1"),
            "target that is a word": line(b"GET foo HTTP/1.1"),
            "target that is a backslash": line(b"GET \\ HTTP/1.1"),
            "target that begins with a query": line(b"GET ?a HTTP/1.1"),
            "target * for a GET": line(b"GET * HTTP/1.1"),
            "target *, and more, for OPTIONS": line(b"OPTIONS *a HTTP/1.1"),
            "target of another scheme": line(b"GET ftp://h/ HTTP/1.1"),
            "target of no scheme": line(b"GET ://h/ HTTP/1.1"),
            "target with user information": line(b"GET http://user:word@h/ HTTP/1.1"),
            "target with two ports": line(b"GET http://h:80:80/ HTTP/1.1"),
            "target without a host": line(b"GET http:///a HTTP/1.1"),
            "target with a host that is a port": line(b"GET http://:80/ HTTP/1.1"),
            "target with a port that is a word": line(b"GET http://h:http/ HTTP/1.1"),
            "target with a backslash for a slash": line(b"GET http://h\\@evil/ HTTP/1.1"),
            "target of one slash": line(b"GET http:/h/ HTTP/1.1"),
        },
    )
    + refuse(
        501,
        {
            "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "CONNECT with a body": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "method of RTSP": line(b"DESCRIBE / RTSP/1.0"),
            "method of ICE": line(b"SOURCE / ICE/1.0"),
        },
    )
    + refuse(
        505,
        {
            "version HTTP/2.0": line(b"GET / HTTP/2.0"),
            "version HTTP/0.9": line(b"GET / HTTP/0.9"),
            "no version": line(b"GET /"),
        },
    )
    + accept(
        {
            # Nor is anything between the parts of the line but blanks (RFC 9112 §3).
            "two spaces behind the method": (line(b"GET  / HTTP/1.1"), got()),
            "two spaces behind the target": (line(b"GET /  HTTP/1.1"), got()),
            "target with characters that an URL has not": (
                line(b'GET /"<>\\^`{|}%zz HTTP/1.1'),
                got(target=b'/"<>\\^`{|}%zz'),
            ),
            "target with dots": (
                line(b"GET /a/../../b//c/%2e%2e HTTP/1.1"),
                got(target=b"/a/../../b//c/%2e%2e"),
            ),
            "target with two slashes": (line(b"GET //evil/a HTTP/1.1"), got(target=b"//evil/a")),
            "target with encoded line ends": (
                line(b"GET /%0d%0aX:%20y HTTP/1.1"),
                got(target=b"/%0d%0aX:%20y"),
            ),
            "target with two question marks": (
                line(b"GET /?a?b=/ HTTP/1.1"),
                got(target=b"/?a?b=/"),
            ),
            "target that is an URL": (
                line(b"GET http://a/b?c HTTP/1.1"),
                got(target=b"/b?c", host=b"a"),
            ),
            "target that is an URL without a path": (
                line(b"GET HTTP://a HTTP/1.1"),
                got(host=b"a"),
            ),
            "target that is an URL without a path, and a query": (
                line(b"GET https://a:443?c HTTP/1.1"),
                got(target=b"/?c", host=b"a:443"),
            ),
            "OPTIONS *": (line(b"OPTIONS * HTTP/1.1"), got(method=b"OPTIONS", target=b"*")),
            "method that is not plain": (line(b"M-SEARCH / HTTP/1.1"), got(method=b"M-SEARCH")),
            "TRACE": (line(b"TRACE / HTTP/1.1"), got(method=b"TRACE")),
        }
    )
)

LAST_REQUESTS = [
    Case(name, data, seen=(seen,), last=True)
    for name, data, seen in (
        ("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", got()),
        ("HTTP/1.0 without a host", b"GET / HTTP/1.0\r\n\r\n", got(host=b"")),
        (
            "HTTP/1.0 with a body",
            b"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
            posted(),
        ),
        # The parser does not say by which name the version was called.
        ("RTSP/1.0, taken for HTTP/1.0", line(b"GET / RTSP/1.0"), got()),
        ("the last", get(b"Connection: close"), got()),
        ("the last, and not alone", get(b"Connection: foo, CLOSE , bar"), got()),
        (
            "the last, with chunks",
            post(b"Connection: close", CHUNKED, body=HELLO),
            posted(chunked=True),
        ),
    )
]

# -- Host, and other fields that may be there once

HOSTS = refuse(
    400,
    {
        "no host": b"GET / HTTP/1.1\r\n\r\n",
        "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "two hosts that agree": b"GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n",
        "two hosts beside an URL": b"GET http://h/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "no host beside an URL": b"GET http://h/ HTTP/1.1\r\n\r\n",
    }
    | {
        f"host {host!r}": b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        for host in (
            b"a b",
            b"a, b",
            b"a/b",
            b"a\\b",
            b"a?b",
            b"a#b",
            b"a@b",
            b"user:word@h",
            b"http://h",
            b"h:80:80",
            b"h:port",
            b"h:-1",
            b"h:+80",
            b"h: 80",
            b"[::1",
            b"::1]",
            b"[::1]x",
            b"[::g]",
            b"[]",
            b'"h"',
            b"<h>",
            b"h\xff",
            b"h\t.h",
        )
    },
) + accept(
    {
        "host with a port": (b"GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n", got(host=b"h:8080")),
        "host that is an address": (
            b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            got(host=b"[::1]:80"),
        ),
        "host among blanks": (b"GET / HTTP/1.1\r\nHost: \t h \t\r\n\r\n", got()),
        "host that is empty": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", got(host=b"")),
        "host that looks like another field": (
            get(b"X-Host: a", b"Host-Name: b", b"Hos: c"),
            got(b"X-Host: a", b"Host-Name: b", b"Hos: c"),
        ),
        "host with an underscore for a hyphen": (
            get(b"X_Forwarded-Host: evil", b"X_Forwarded_For: 6.6.6.6", b"Modal_Key: a"),
            got(),
        ),
        "fields of the gateway's own": (
            get(
                b"X-Portico-Input: 7",
                b"X-Request-Id: a",
                b"X-Forwarded-Proto: b",
                b"X_Portico_Input: 7",
            ),
            got(),
        ),
        "what Connection names": (
            get(b"A: 1", b"Connection: x-a, KEEP-ALIVE", b"X-A: 2", b"B: 3", b"connection: b"),
            got(b"A: 1"),
        ),
        "Connection naming what the gateway relies on": (
            post(
                b"Connection: Host, Content-Length, X-Forwarded-For, X-Portico-Input",
                b"Content-Length: 5",
                body=b"hello",
            ),
            posted(),
        ),
        "Connection of commas": (get(b"Connection: , ,,", b"X: a"), got(b"X: a")),
    }
)

# -- offers to speak something else

UPGRADES = refuse(
    400,
    {
        "upgrade with a body": post(
            b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 5", body=b"hello"
        ),
        "upgrade with chunks": post(b"Connection: upgrade", b"Upgrade: h2c", CHUNKED, body=HELLO),
        "WebSocket with a body": get(
            b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: %d" % len(SMUGGLED)
        )
        + SMUGGLED,
    },
) + accept(
    {
        "upgrade to HTTP/2": (
            get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA"),
            got(),
        ),
        "upgrade without Connection": (get(b"Upgrade: websocket"), got()),
        "Connection without an upgrade": (get(b"Connection: upgrade"), got()),
        "upgrade to WebSocket by POST": (
            post(b"Connection: upgrade", b"Upgrade: websocket"),
            Seen(b"POST", b"/", (b"host: h",)),
        ),
    }
)

# -- one that is sound, and one that is not, behind each other

PIPELINES = [
    Case(
        "three requests",
        get() + post(CHUNKED, body=HELLO) + get(),
        seen=(got(), posted(chunked=True), got()),
    ),
    Case("empty lines between requests", get() + b"\r\n" + get() + b"\r\n", seen=(got(), got())),
    *accept(
        {
            "request behind a length of nothing": (
                post(b"Content-Length: 0") + b"\r\n",
                posted(body=b""),
            ),
        }
    ),
    Case("bare LF between requests", get() + b"\n" + get(), seen=(got(), got())),
    Case(
        "bare CR behind a body",
        post(CHUNKED, body=HELLO) + b"\r" + get(),
        seen=(posted(chunked=True), got()),
    ),
    Case(
        "request behind a trailer that says close",
        post(CHUNKED, body=b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"),
        400,
        (posted(chunked=True),),
    ),
    Case("fault behind a request", get() + get(b"X : a"), 400, (got(),)),
    Case("fault behind a body", post(CHUNKED, body=HELLO) + b"GE\0T", 400, (posted(chunked=True),)),
    Case(
        "body longer than its length",
        post(b"Content-Length: 5", body=b"helloworld"),
        400,
        (posted(),),
    ),
    Case(
        "body longer than its chunks",
        post(CHUNKED, body=HELLO + b"5\r\nworld\r\n0\r\n\r\n"),
        400,
        (posted(chunked=True),),
    ),
    Case("fault between requests", get() + get(b"\0: a") + get(), 400, (got(),)),
]

CASES = [
    *LENGTHS,
    *CODINGS,
    *CHUNKS,
    *LINES,
    *REQUEST_LINES,
    *LAST_REQUESTS,
    *HOSTS,
    *UPGRADES,
    *PIPELINES,
]
