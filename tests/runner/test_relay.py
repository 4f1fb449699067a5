"""The relay between the gateway's unix socket and a server's port, on sockets of the test's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from containers import DEADLINE
from portico.runner.relay import Relay


def test_an_answer_passes_that_came_before_the_server_closed_on_what_it_was_sent(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        began, answered = asyncio.Event(), asyncio.Event()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await began.wait()
            writer.write(b"no, and why")
            writer.close()
            answered.set()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        relay = Relay(("127.0.0.1", server.sockets[0].getsockname()[1]), lambda: None)
        path = str(tmp_path / "relay")
        await relay.listen(path)
        reader, writer = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(DEADLINE):
            while not [front for front in relay.fronts if front.other is not None]:
                await asyncio.sleep(0.001)
            (front,) = relay.fronts
            assert front.other is not None
            assert front.other.transport is not None
            front.other.transport.pause_reading()  # as if the loop were busy with other things
            began.set()
            await answered.wait()
            while relay.fronts:
                writer.write(b"more")
                await asyncio.sleep(0.01)
            assert await reader.read() == b"no, and why"
        relay.close()
        server.close()

    uvloop.run(main())
