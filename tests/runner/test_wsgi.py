"""A ``wsgi_app`` as the gateway meets it: requests and responses on the container's socket (PEP 3333)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from containers import Machine, address, run
from exchanges import Exchange, get, send
from portico.wire.image import ImageEnvironment
from runner.wsgi_apps import folder_of, serving

ECHO = """
    def echo(environ, start):
        start("200 OK", TEXT)
        return [environ["wsgi.input"].read()]

    def hello(environ, start):
        start("200 OK", TEXT)
        return [b"hel", b"lo"]
"""
HELLO = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"


async def rest(exchange: Exchange) -> bytes:
    """Everything until the connection ends."""
    return await asyncio.wait_for(exchange.reader.read(), 20)


async def still_works(exchange: Exchange) -> bool:
    """Whether the connection carries another request."""
    exchange.writer.write(HELLO)
    return (await exchange.response()).body == b"hello"


def test_a_list_leaves_with_its_length_and_the_news_that_the_input_has_ended(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO)
            exchange = await send(address(watcher), "/hello", number=1)
            response = await exchange.response()
            assert (response.status, response.body) == (200, b"hello")
            assert response.header("x-portico-ended") == "1"
            assert response.header("content-length") == "5"
            assert response.header("date")
            assert response.header("server") is None
            assert await still_works(exchange)
            exchange.close()
            assert watcher.ended_inputs == []

    run(main())


def test_the_environ_tells_of_the_request_and_of_the_client(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def show(environ, start):
            plain = {k: v for k, v in environ.items() if isinstance(v, (str, bool))}
            assert type(environ) is dict
            assert environ["wsgi.version"] == (1, 0)
            assert environ["wsgi.errors"] is sys.stderr
            plain["id"] = portico.current_input_id()
            start("200 OK", TEXT)
            return [json.dumps(plain).encode()]

        def path(environ, start):
            return show(environ, start)

        globals()["\\u00c3\\u00a9 /path"] = path
    """
    headers = (
        *("content-type: text/x", "x-many: 1", "X-Many: 2", "cookie: a=1", "cookie: b=2"),
        *("x_many: spoofed", "x-text: caf\xe9", "content_length: 7"),
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            target = "/%C3%A9%20%2Fpath?q=%2F&r=a+b"
            response = await get(
                address(watcher),
                target,
                number=7,
                client="192.0.2.7",
                scheme="https",
                headers=headers,
            )
            seen = json.loads(response.body)
            expected = {
                "REQUEST_METHOD": "GET",
                "SCRIPT_NAME": "",
                "PATH_INFO": "/\xc3\xa9 /path",
                "QUERY_STRING": "q=%2F&r=a+b",
                "REQUEST_URI": target,
                "RAW_URI": target,
                "SERVER_PROTOCOL": "HTTP/1.1",
                "SERVER_NAME": "container",
                "SERVER_PORT": "443",
                "SERVER_SOFTWARE": "portico",
                "REMOTE_ADDR": "192.0.2.7",
                "CONTENT_TYPE": "text/x",
                "HTTP_HOST": "container",
                "HTTP_X_MANY": "1,2",
                "HTTP_COOKIE": "a=1; b=2",
                "HTTP_X_TEXT": "caf\xe9",
                "HTTP_X_FORWARDED_FOR": "192.0.2.7",
                "HTTP_X_FORWARDED_PROTO": "https",
                "HTTP_X_FORWARDED_HOST": "container",
                "wsgi.url_scheme": "https",
                "wsgi.multithread": True,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
                "wsgi.input_terminated": True,
                "id": "in-7",
            }
            assert seen == expected

    run(main())


def test_one_slot_is_one_thread_and_a_hosts_port_is_the_servers(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def show(environ, start):
            start("200 OK", TEXT)
            names = ("SERVER_NAME", "SERVER_PORT", "wsgi.multithread", "wsgi.url_scheme")
            return [repr([environ[name] for name in names]).encode()]
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers, max_inputs=1)
            path = address(watcher).path
            reader, writer = await asyncio.open_unix_connection(path)
            for host, seen in (
                ("a.example:81", b"['a.example', '81', False, 'http']"),
                ("[::1]", b"['[::1]', '80', False, 'http']"),
                ("[::1]:81", b"['[::1]', '81', False, 'http']"),
                ("", b"['localhost', '80', False, 'http']"),
            ):
                writer.write(f"GET /show HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                assert (await Exchange(reader, writer).response()).body == seen
            writer.close()

    run(main())


def test_the_validator_of_the_standard_library_finds_nothing(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        from wsgiref.validate import validator

        def lines(environ, start):
            body = environ["wsgi.input"]
            first = body.readline()
            rest = list(body) if environ["REQUEST_METHOD"] == "POST" else [body.read(5)]
            environ["wsgi.errors"].write("read\\n")
            write = start("200 OK", [("Content-Type", "text/plain")])
            write(first)
            return rest

        checked = validator(lines)
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            body = b"one\ntwo\nthree"
            for method, size in (("POST", body), ("PUT", body[:9])):
                response = await get(address(watcher), "/checked", method=method, body=body)
                assert (response.status, response.body) == (200, size), machine.logs.text()
            assert (await get(address(watcher), "/checked")).status == 200
            assert machine.logs.text("stderr").replace("read", "").strip() == ""

    run(main())


def test_a_body_comes_with_a_length_or_in_chunks_and_nothing_of_it_is_left_over(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO)
            large = bytes(range(256)) * 2000
            exchange = await send(address(watcher), "/echo", number=1, method="POST", body=large)
            assert (await exchange.response()).body == large
            exchange.writer.write(
                b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab"
            )
            await exchange.writer.drain()
            exchange.writer.write(b"c\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n")
            assert (await exchange.response()).body == b"abcde"
            assert await still_works(exchange)
            # An app that does not read leaves it to the server.
            head = b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(large)
            exchange.writer.write(head + large)
            assert (await exchange.response()).body == b"hello"
            assert await still_works(exchange)
            exchange.close()

    run(main())


def test_a_body_can_be_read_as_it_comes_and_not_after_the_response(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def progress(environ, start):
            global kept
            kept = environ["wsgi.input"]
            write = start("200 OK", TEXT)
            while piece := kept.read1():
                write(b"<" + piece + b">")
            return []

        def late(environ, start):
            start("200 OK", TEXT)
            try:
                return [kept.read()]
            except ValueError as error:
                return [str(error).encode()]

        def unread(environ, start):
            global kept
            kept = environ["wsgi.input"]
            start("200 OK", TEXT)
            return []
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            head = ("content-length: 4",)
            exchange = await send(address(watcher), "/progress", method="POST", headers=head)
            for piece in (b"ab", b"cd"):
                exchange.writer.write(piece)
                assert await exchange.reader.readuntil(b"<" + piece + b">\r\n")
            await exchange.reader.readuntil(b"0\r\n\r\n")
            exchange.writer.write(b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
            assert (await exchange.response()).status == 200
            exchange.writer.write(b"abcdPOST /late HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"is over" in (await exchange.response()).body
            exchange.close()

    run(main())


def test_a_client_that_expects_it_is_told_to_continue_when_the_app_reads(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO)
            head = ("expect: 100-continue", "content-length: 3")
            exchange = await send(address(watcher), "/echo", method="POST", headers=head)
            assert (await exchange.response()).status == 100
            exchange.writer.write(b"abc")
            assert (await exchange.response()).body == b"abc"
            assert await still_works(exchange)
            exchange.close()
            exchange = await send(address(watcher), "/hello", method="POST", headers=head)
            response = await exchange.response()
            assert (response.status, response.header("connection")) == (200, "close")
            assert await rest(exchange) == b""

    run(main())


def test_responses_without_a_body_have_none_and_keep_the_connection(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def hello(environ, start):
            start("200 OK", TEXT)
            return [b"hello"]

        def declared(environ, start):
            start("200 OK", [("Content-Length", "5")])
            return iter([b"he", b"llo"])

        def endless(environ, start):
            start("200 OK", TEXT)
            while True:
                yield b"x"

        def empty(environ, start):
            start("204 No Content", [("Content-Length", "0")])
            return [b"never sent"]

        def same(environ, start):
            start("304 Not Modified", [("ETag", "x")])
            return []

        def nothing(environ, start):
            start("200 OK", TEXT)
            return iter([])
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            reader, writer = await asyncio.open_unix_connection(address(watcher).path)
            for method, path, status, length in (
                ("HEAD", "hello", b"200 OK", None),
                ("HEAD", "declared", b"200 OK", b"5"),
                ("HEAD", "endless", b"200 OK", None),
                ("GET", "empty", b"204 No Content", None),
                ("GET", "same", b"304 Not Modified", None),
                ("GET", "nothing", b"200 OK", b"0"),
            ):
                writer.write(f"{method} /{path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                assert head[0] == b"http/1.1 " + status.lower()
                lengths = [line for line in head if line.startswith(b"content-length")]
                assert lengths == ([b"content-length: " + length] if length else [])
                assert not any(line.startswith(b"transfer-encoding") for line in head)
            assert await still_works(Exchange(reader, writer))
            writer.close()

    run(main())


def test_a_block_leaves_before_the_next_is_asked_for(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def stream(environ, start):
            start("200 OK", TEXT + [("Connection", "keep-alive")])
            yield b"one"
            wait_for("first")
            yield b""
            yield b"two"

        def written(environ, start):
            write = start("200 OK", TEXT + [("Content-Length", "8")])
            write(b"one")
            wait_for("second")
            write(b"two")
            return [b"th"]
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            exchange = await send(address(watcher), "/stream", number=1)
            head = await exchange.reader.readuntil(b"3\r\none\r\n")
            assert b"transfer-encoding: chunked" in head
            assert b"keep-alive" not in head
            assert watcher.ended_inputs == []
            (folder_of(machine) / "first").touch()
            assert await exchange.reader.readuntil(b"3\r\ntwo\r\n0\r\n\r\n")
            await watcher.until_ended(1)
            exchange.writer.write(HELLO.replace(b"hello", b"written"))
            await exchange.reader.readuntil(b"one")
            (folder_of(machine) / "second").touch()
            assert await exchange.reader.readexactly(5) == b"twoth"
            exchange.close()

    run(main())


def test_a_whole_response_does_not_wait_for_an_app_that_does_something_else_afterwards(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        class Slow(list):
            def close(self):
                wait_for("go")
                print("closed")

        def slow(environ, start):
            start("200 OK", TEXT + [("Content-Length", "5")])
            return Slow([b"hello"])
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, handlers)
            exchange = await send(address(watcher), "/slow", number=1)
            response = await exchange.response()
            assert (response.body, response.ended) == (b"hello", False)
            container.cancel([99])  # answered in order: whatever had ended would have come first
            await watcher.until_ended(99)
            assert watcher.ended_inputs == [99]
            (folder_of(machine) / "go").touch()
            await watcher.until_ended(1)
            await machine.logs.until("closed")
            exchange.close()

    run(main())


MISTAKES = (
    ("raise ValueError('no good')", "ValueError: no good"),
    ("sys.exit(3)", "SystemExit: 3"),
    ("return [b'x']", "start_response has to be called"),
    ("return []", "without calling start_response"),
    ("return iter([])", "without calling start_response"),
    ("start('200 OK', TEXT); return b'x'", "gave int: return a list such as [body]"),
    ("start('200 OK', TEXT); return ['x']", "gave str"),
    ("start('200 OK', TEXT); return None", "'NoneType' object is not iterable"),
    ("start('200 OK', TEXT); start('200 OK', TEXT)", "a second time, without exc_info"),
    ("start('fine', TEXT)", "no status such as '200 OK'"),
    ("start('101 Switching Protocols', TEXT)", "no status such as '200 OK'"),
    ("start('200 OK\\r\\nx: y', TEXT)", "no status such as '200 OK'"),
    ("start('200 OK', [('x', 'a\\r\\ny: z')])", "header x has a line break"),
    ("start('200 OK', [('x\\r\\ny', 'z')])", "no name of a header"),
    ("start('200 OK', [('x', 1)])", "a header is two strings"),
    ("start('200 OK', [('x', '\\u20ac')])", "characters beyond latin-1"),
    ("start('200 OK', [('content-length', '-1')])", "Content-Length '-1'"),
)


def test_an_exception_before_the_head_is_a_500_with_the_users_traceback(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = [
        f"def bad{number}(environ, start):\n    {handler}\n"
        for number, (handler, _) in enumerate(MISTAKES)
    ]

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO, *handlers)
            reader, writer = await asyncio.open_unix_connection(address(watcher).path)
            exchange = Exchange(reader, writer)
            for number, (handler, said) in enumerate(MISTAKES):
                writer.write(f"GET /bad{number} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                response = await exchange.response()
                assert (response.status, response.body) == (500, b"Internal Server Error"), handler
                assert response.header("x") is None
                line = await machine.logs.until(said)
                assert line.stream == "stderr"
            assert await still_works(exchange)
            writer.close()
            assert machine.logs.text("stderr").count("Traceback") == len(MISTAKES)

    run(main())


def test_a_traceback_shows_the_users_frames_and_the_500_ends_the_input(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def bad(environ, start):
            raise ValueError("no good")
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            response = await get(address(watcher), "/bad", number=1)
            assert (response.status, response.ended) == (500, True)
            await machine.logs.until("ValueError: no good")
            printed = machine.logs.text("stderr")
            assert 'raise ValueError("no good")' in printed
            assert "runner" not in printed.replace(str(tmp_path), "")

    run(main())


def test_exc_info_replaces_a_head_that_has_not_left_and_is_raised_after(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def replaced(environ, start):
            start("200 OK", [("x", "first")])
            try:
                raise ValueError("before")
            except ValueError:
                start("502 Sorry", [("y", "second")], sys.exc_info())
            return [b"sorry"]

        def raised(environ, start):
            write = start("200 OK", TEXT)
            write(b"begun")
            try:
                raise ValueError("after the head")
            except ValueError:
                start("500 Sorry", TEXT, sys.exc_info())
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            response = await get(address(watcher), "/replaced")
            assert (response.status, response.body) == (502, b"sorry")
            assert (response.header("x"), response.header("y")) == (None, "second")
            exchange = await send(address(watcher), "/raised", number=1)
            assert (await rest(exchange)).endswith(b"5\r\nbegun\r\n")
            await watcher.until_ended(1)
            await machine.logs.until("ValueError: after the head")
            assert "before" not in machine.logs.text()

    run(main())


def test_a_response_that_is_not_whole_is_cut_and_one_that_is_stays(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def broken(environ, start):
            start("200 OK", TEXT)
            yield b"begun"
            raise ValueError("on the way")

        def short(environ, start):
            start("200 OK", TEXT + [("Content-Length", "9")])
            return [b"begun"]

        def long(environ, start):
            start("200 OK", TEXT + [("Content-Length", "5")])
            yield b"whole"
            yield b" and more"
            yield b" and more"

        def late(environ, start):
            start("200 OK", TEXT + [("Content-Length", "5")])
            yield b"whole"
            raise ValueError("too late to matter")
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO, handlers)
            exchange = await send(address(watcher), "/broken", number=1)
            assert (await rest(exchange)).endswith(b"\r\n\r\n5\r\nbegun\r\n")
            await machine.logs.until("ValueError: on the way")
            exchange = await send(address(watcher), "/short", number=2)
            assert (await rest(exchange)).endswith(b"\r\n\r\nbegun")
            await machine.logs.until("4 bytes shorter than its Content-Length")
            for number, path in enumerate(("/long", "/late"), start=3):
                exchange = await send(address(watcher), path, number=number)
                response = await exchange.response()
                assert (response.body, response.ended) == (b"whole", True)
                assert await still_works(exchange)
                exchange.close()
            await watcher.until_ended(1, 2)
            await machine.logs.until("too late to matter")
            assert machine.logs.text().count("longer than its Content-Length") == 1

    run(main())


def test_a_wrapped_file_is_sent_from_where_it_stands_and_closed(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        pathlib.Path("plain").write_bytes(bytes(range(256)) * 4096)
        with gzip.open("packed", "wb") as packed:
            packed.write(bytes(range(256)) * 4096)

        def give(environ, start, file):
            file.seek(100)
            file.read(28)
            close = file.close
            def closing():
                print("closed", environ["PATH_INFO"])
                close()
            file.close = closing
            start("200 OK", TEXT)
            return environ["wsgi.file_wrapper"](file, 8192)

        def plain(environ, start):
            return give(environ, start, open("plain", "rb"))

        def packed(environ, start):
            return give(environ, start, gzip.open("packed"))

        def small(environ, start):
            file = open("plain", "rb")
            file.seek(256 * 4096 - 3)
            start("200 OK", TEXT + [("Content-Length", "3")])
            return environ["wsgi.file_wrapper"](file)

        def less(environ, start):
            start("200 OK", TEXT + [("Content-Length", "100000")])
            return environ["wsgi.file_wrapper"](open("plain", "rb"))
    """
    content = bytes(range(256)) * 4096

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            response = await get(address(watcher), "/plain", number=1)
            assert response.body == content[128:]
            assert response.header("content-length") == str(len(content) - 128)
            await machine.logs.until("closed /plain")
            await watcher.until_ended(1)
            assert (await get(address(watcher), "/packed")).body == content[128:]
            await machine.logs.until("closed /packed")
            response = await get(address(watcher), "/small", number=2)
            assert (response.body, response.ended) == (content[-3:], True)
            assert (await get(address(watcher), "/less")).body == content[:100_000]
            assert machine.logs.text("stderr") == ""

    run(main())


def test_hundreds_of_megabytes_pass_both_ways_in_constant_memory(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def through(environ, start):
            before = peak()
            start("200 OK", TEXT)
            total = 0
            while block := environ["wsgi.input"].read(1 << 20):
                total += len(block)
                yield block
            grown = (peak() - before) // (1024 if sys.platform == "darwin" else 1)
            print(f"passed {total} bytes, grown by {'little' if grown < 16_384 else grown}")
    """
    size, block = 300 << 20, bytes(1 << 20)

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            head = (f"content-length: {size}",)
            exchange = await send(address(watcher), "/through", method="POST", headers=head)

            async def upload() -> None:
                for _ in range(size // len(block)):
                    exchange.writer.write(block)
                    await exchange.writer.drain()

            upload_task = asyncio.create_task(upload())
            await exchange.reader.readuntil(b"\r\n\r\n")
            received = 0
            while length := int(await exchange.reader.readline(), 16):
                received += length
                left = length + 2
                while left:
                    left -= len(await exchange.reader.read(left))
            await upload_task
            assert received == size
            await machine.logs.until(f"passed {size} bytes, grown by little")
            exchange.close()

    run(main())


def test_what_is_no_request_gets_400_and_its_input_ends(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, ECHO)
            exchange = await send(
                address(watcher), "/hello", number=8, headers=("content-length: many",)
            )
            assert (await rest(exchange)).startswith(b"HTTP/1.1 400 ")
            exchange = await send(address(watcher), "/hello", headers=("upgrade: x",))
            assert (await exchange.response()).status == 200
            reader, writer = await asyncio.open_unix_connection(address(watcher).path)
            writer.write(HELLO + HELLO + b"\0garbage")
            exchange = Exchange(reader, writer)
            assert [(await exchange.response()).body for _ in range(2)] == [b"hello"] * 2
            assert await reader.read() == b""
            writer.close()
            await watcher.until_ended(8)

    run(main())
