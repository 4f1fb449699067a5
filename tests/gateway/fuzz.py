"""A fuzz target on the way from a client's bytes to a container: ``python -m gateway.fuzz --seconds 60``.

The corpus is the seed. Needs atheris, and `tests` on the path. Exits with 0 where nothing was found; what was found
is printed as a literal, to be added to the corpus.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.table import Table

LARGEST = 4096  # bytes of an input
CLOSING = {400, 431, 501, 505}  # after these nothing more is read
WORDS = (
    "Content-Length: ",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Connection: upgrade",
    "Upgrade: h2c",
    "Expect: 100-continue",
    " HTTP/1.1\\x0d\\x0a",
    " HTTP/1.0\\x0d\\x0a",
    "Host: h\\x0d\\x0a",
    "\\x0d\\x0a\\x0d\\x0a",
    "0\\x0d\\x0a\\x0d\\x0a",
    "POST / ",
    "OPTIONS * ",
    "GET http://h/ ",
)


def main() -> int:
    options = argparse.ArgumentParser(description="Fuzz the way from a client to a container.")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not there (it has no wheels for this Python or platform)")
        return 0
    if given.target is not None:
        fuzz(given.target, given.seconds)
    with tempfile.TemporaryDirectory() as folder:
        return supervise(Path(folder), given.seconds)


def supervise(folder: Path, seconds: int) -> int:
    """Run the target in a process of its own, which libFuzzer ends in its own way."""
    from gateway.corpus import CASES, NEXT

    seeds = folder / "seeds"
    seeds.mkdir()
    for number, case in enumerate(CASES):
        (seeds / str(number)).write_bytes(case.data + NEXT)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in WORDS))
    command = [sys.executable, "-m", "gateway.fuzz", f"--seconds={seconds}", f"--target={folder}"]
    status = subprocess.run(command, check=False).returncode
    for found in sorted(folder.glob("found-*")):
        print(f"found: {found.read_bytes()!r}")
    return 1 if status else 0


def fuzz(folder: Path, seconds: int) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["portico.gateway"]):
        from gateway.table import Table

    table = Table()
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        f"-artifact_prefix={folder}/found-",
        f"-dict={folder}/words",
        "-timeout=10",
        "-verbosity=1",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(folder / "seeds")], lambda data: judge(table, data))
    atheris.Fuzz()


def judge(table: Table, data: bytes) -> None:
    """What has to be true of any bytes. That what reaches a container is HTTP, the table sees to itself."""
    outcome = table.converse([data])
    statuses = outcome.statuses
    # Who speaks before a WebSocket is accepted or declined gets 400 in its place, by the luck of the moment.
    handshake = b"websocket" in data.lower()
    assert statuses.count(200) == len(outcome.requests) or handshake, "an answer for each request"
    assert statuses.count(200) <= len(outcome.requests), "and no more"
    assert not CLOSING.intersection(statuses[:-1]), "nothing is heard behind what is not HTTP"
    if CLOSING.intersection(statuses):
        assert outcome.closed
    ours = [(request.method, request.body) for request in outcome.requests]
    for mine, theirs in zip(ours, as_h11_reads(data), strict=False):
        assert mine == theirs, "what two parsers take for a request is the same request"
    # So does a body that is too large: whether it has come by then is for the client to say when it reads on.
    if not handshake and 413 not in statuses:
        place = zlib.crc32(data) % (len(data) + 1)
        assert table.converse([data[:place], data[place:]]) == outcome, "cuts change nothing"


def as_h11_reads(data: bytes) -> list[tuple[bytes, bytes]]:
    """Methods and bodies of the requests in `data`, up to the first thing that h11 does not take."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * LARGEST)
    requests, method, body = [], b"", b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, body = event.method, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests.append((method, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return requests
    except h11.ProtocolError:
        return requests


if __name__ == "__main__":
    sys.exit(main())
