"""`portico serve`: an app that lives exactly as long as its command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from driver import Portico, Running, alive, get, processes_of, until, wait_gone

# A child of the container's, and a daemon that has left its session: both must go with it.
BREEDER = """
    import portico

    app = portico.App("breeder", image=portico.Image.debian_slim())

    @app.function()
    @portico.asgi_app()
    def pids():
        import os, subprocess

        child = subprocess.Popen(["sleep", "1000"])
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                os.execve("/bin/sleep", ["sleep", "1000"], {})
            os._exit(0)
        print("bred", flush=True)
        body = f"{os.getpid()} {child.pid} {os.read(reader, 20).decode()}".encode()

        async def answer(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return answer
"""


class Served:
    """A running `portico serve` and the processes its container has made."""

    def __init__(self, user: Portico) -> None:
        self.command: Running = user.begin("serve", user.script("breeder.py", BREEDER))
        self.url = self.command.until(r"http://127\.0\.0\.1:\d+")[0]
        self.command.until("Serving until")
        self.pids = [int(pid) for pid in get(self.url).text.split()]
        assert len(self.pids) == 3
        assert all(map(alive, self.pids))

    def until_no_process(self) -> None:
        until(lambda: not any(map(alive, self.pids)), f"the end of all of {self.pids}")


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Portico]:
    """A user whose state folder is empty: not even an image is there."""
    with Portico(tmp_path, None) as portico:
        yield portico


def test_serve_needs_no_server_and_ctrl_c_ends_it_all(nobody: Portico) -> None:
    served = Served(nobody)
    served.command.until(r"^pids +\| bred$")
    assert "breeder (ap-" in served.command.output
    served.command.send(signal.SIGINT)
    assert served.command.wait() == 0
    assert "Traceback" not in served.command.output
    with pytest.raises(httpx.ConnectError):
        get(served.url)
    served.until_no_process()
    assert wait_gone(nobody.state) == []
    assert list(nobody.state.glob("*.json")) == []


def test_a_killed_serve_leaves_no_process(user: Portico) -> None:
    served = Served(user)
    assert processes_of(user.state)
    served.command.send(signal.SIGKILL)
    assert served.command.wait() == -signal.SIGKILL
    served.until_no_process()
    assert wait_gone(user.state) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["ctrl-c", "kill -9"],
)
def test_on_a_running_server_the_app_ends_with_its_serve(
    own: Portico, number: int, status: int
) -> None:
    served = Served(own)
    host = served.command.until(r"http://(e2e--breeder-pids-dev\.localhost)")[1]
    assert get(own.web_url, headers={"host": host}).status_code == 200
    served.command.send(number)
    assert served.command.wait() == status
    until(
        lambda: get(own.web_url, headers={"host": host}).status_code == 404, "404 for an ended app"
    )
    served.until_no_process()
    assert own.json("app", "list") == []


def test_serve_of_a_broken_script_shows_the_traceback_and_fails(user: Portico) -> None:
    script = user.script(
        "broken.py", "import portico\napp = portico.App('b')\nraise OSError('no')\n"
    )
    failed = user("serve", script, status=1)
    assert 'broken.py", line 3' in failed.stderr
    assert "OSError: no" in failed.stderr
    assert f"portico{os.sep}cli" not in failed.stderr


def test_two_serves_with_one_state_folder_live_side_by_side(user: Portico) -> None:
    first = Served(user)
    other = user.begin("serve", user.script("second.py", BREEDER.replace('"breeder"', '"second"')))
    url = other.until(r"http://127\.0\.0\.1:\d+")[0]
    other.until("Serving until")
    assert get(url).text != get(first.url).text
    other.end()
    assert get(first.url).status_code == 200
