"""What the end-to-end tests drive: a state folder with the `portico` command on it, as a user has it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
DEADLINE = 60.0  # seconds; nothing here takes that long unless it is broken
IMAGE = 'modal.Image.debian_slim().pip_install("fastapi", "python-multipart")'
DROPPED = ("PORTICO_", "XDG_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONPATH")


def until(condition: Callable[[], T], what: str, deadline: float = DEADLINE) -> T:
    """The first true result of `condition`."""
    ends = time.monotonic() + deadline
    while True:
        if result := condition():
            return result
        if time.monotonic() > ends:
            raise AssertionError(f"still not after {deadline:g} s: {what}")
        time.sleep(0.02)


class Running:
    """A command that runs in the background; everything it prints is kept."""

    def __init__(self, command: Sequence[str], env: dict[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._over = True
            self._said.notify_all()

    @property
    def output(self) -> str:
        with self._said:
            return "".join(self._lines)

    def until(self, pattern: str, deadline: float = DEADLINE) -> re.Match[str]:
        """Wait until it has printed `pattern` (a regular expression)."""
        search = re.compile(pattern, re.MULTILINE).search
        with self._said:
            self._said.wait_for(lambda: search("".join(self._lines)) or self._over, deadline)
        found = search(self.output)
        assert found, f"{pattern!r} was not printed:\n{self.output}"
        return found

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, deadline: float = DEADLINE) -> int:
        status = self.process.wait(deadline)
        self._reader.join(deadline)
        return status

    def end(self) -> None:
        """End it in order if it still runs, by force if that does not help."""
        if self.process.poll() is None:
            self.send(signal.SIGINT)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Deployed:
    """What ``portico deploy --json`` printed."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.app_id: str = record["app_id"]
        self.version: int = record["version"]
        self.urls: dict[str, list[str]] = {f["name"]: f["urls"] for f in record["functions"]}

    def url(self, function: str) -> str:
        """The URL with a loopback port of its own: every HTTP client resolves it."""
        return self.urls[function][1]


class Portico:
    """One user: a state folder, a folder of scripts, and the command in an environment that names both."""

    def __init__(self, folder: Path, images: Path | None, prefix: Sequence[str] = ()) -> None:
        """`prefix` is a command line that runs the command behind it."""
        self.folder = folder
        self.prefix = prefix
        self.state = folder / "state"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.state.mkdir(mode=0o700)
        if images is not None:
            (self.state / "images").symlink_to(images)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        self.env = {
            **kept,
            "HOME": str(folder / "home"),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
            "PORTICO_CONFIG": str(folder / "config.toml"),
            "PORTICO_STATE_DIR": str(self.state),
            "PORTICO_WEB": "127.0.0.1:0",
            "PORTICO_API": "127.0.0.1:0",
            "PORTICO_WORKSPACE": "e2e",
            "PORTICO_RATE_LIMIT": "none",
        }
        self.web_url = ""
        self._running: list[Running] = []

    def __enter__(self) -> Portico:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for running in reversed(self._running):
            running.end()
        left = wait_gone(self.state)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if error is None:
            assert not left, f"processes were left behind: {left}"

    def script(self, name: str, text: str) -> Path:
        """Write a script; `IMAGE` in it stands for the image with FastAPI."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).replace("IMAGE", IMAGE))
        return path

    # -- commands

    def __call__(
        self,
        *arguments: str | Path,
        status: int = 0,
        stdin: str = "",
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, which must be with exit code `status`."""
        done = subprocess.run(
            [*self.prefix, *command(*arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env if env is None else env,
            cwd=self.work,
            timeout=2 * DEADLINE,
        )
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str | Path) -> Any:
        """The one JSON document that the command prints with ``--json``."""
        return json.loads(self(*arguments, "--json").stdout)

    def begin(self, *arguments: str | Path) -> Running:
        """Start the command in the background; it is ended with this user."""
        running = Running([*self.prefix, *command(*arguments)], self.env, self.work)
        self._running.append(running)
        return running

    def start_server(self, *options: str) -> Running:
        server = self.begin("server", "run", *options)
        self.web_url = server.until(r"ready.*?(https?://\S+)")[1]
        return server

    def deploy(self, name: str, text: str, *options: str) -> Deployed:
        return Deployed(self.json("deploy", self.script(name, text), *options))

    # -- looking

    def containers(self, app: str, function: str | None = None) -> list[dict[str, Any]]:
        return [
            container
            for container in self.json("container", "list", "--app", app)
            if function in (None, container["function"])
        ]

    def logs(self, app: str) -> str:
        lines = self.json("app", "logs", app, "--tail", "1000")
        return "\n".join(line["text"] for line in lines)

    def until_logged(self, app: str, text: str) -> str:
        return until(
            lambda: found if text in (found := self.logs(app)) else "", f"{text!r} in logs"
        )


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "portico", *map(str, arguments)]


def client(**options: Any) -> httpx.Client:
    """A client that waits long enough and takes no proxy from the environment."""
    return httpx.Client(**{"timeout": DEADLINE, "trust_env": False, **options})


def get(url: str, **options: Any) -> httpx.Response:
    with client() as http:
        return http.get(url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    with client() as http:
        return http.post(url, **options)


class Stream:
    """Clients that request one URL without pause and remember every answer that is not a 200."""

    def __init__(self, url: str, clients: int = 2) -> None:
        self._url = url
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = clients
        self._answered = threading.Condition()
        self.failures: list[str] = []
        self.count = 0
        self.last = ""

    def __enter__(self) -> Stream:
        # Every second client opens a connection for each request, the others keep theirs.
        self._futures = [self._pool.submit(self._run, n % 2 == 0) for n in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for future in self._futures:
            future.result()

    def _run(self, keep: bool) -> None:
        with client() as http:
            while not self._stop.is_set():
                try:
                    response = http.get(self._url, headers={} if keep else {"connection": "close"})
                except httpx.HTTPError as error:
                    self._note(f"{type(error).__name__}: {error}", "")
                    continue
                failed = f"{response.status_code}: {response.text}"
                self._note(None if response.status_code == 200 else failed, response.text)

    def _note(self, failure: str | None, text: str) -> None:
        with self._answered:
            self.count += 1
            self.last = text
            if failure:
                self.failures.append(failure)
            self._answered.notify_all()

    def until_answered(self, more: int) -> None:
        """Wait for `more` answers from now on."""
        with self._answered:
            goal = self.count + more
            assert self._answered.wait_for(lambda: self.count >= goal, DEADLINE)

    def until_answer(self, text: str) -> None:
        """Wait until an answer is `text`."""
        with self._answered:
            assert self._answered.wait_for(lambda: self.last == text, DEADLINE), (
                f"{text!r} never came; the last answer was {self.last!r}"
            )


# ---- a user who is not root

ORDINARY = 54321  # user and group id


def as_ordinary() -> list[str]:
    """A command line that runs the one behind it without root's rights.

    Python and the checkout may lie below a folder that only root may enter, such as root's home. For this command
    alone, in a mount namespace of its own, such a folder holds nothing but them, and is open.
    """
    needed = [Path(sys.base_prefix).resolve(), Path(__file__).resolve().parents[2]]
    script = ["set -e", "aside=$(mktemp -d)"]
    closed = {c for path in needed if (c := _closed_folder(path)) is not None}
    inside = [(folder, path) for folder in closed for path in needed if folder in path.parents]
    for number, (_, path) in enumerate(inside):
        script += [f"mkdir $aside/{number}", f"mount --bind {path} $aside/{number}"]
    script += [f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in closed]
    for number, (_, path) in enumerate(inside):
        script += [f"mkdir -p {path}", f"mount --move $aside/{number} {path}"]
    script += [f'exec setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups "$@"']
    return ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh"]


def _closed_folder(path: Path) -> Path | None:
    """The topmost folder above `path` that others than its owner may not enter."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


# ---- processes


def processes_of(folder: Path) -> list[int]:
    """Processes that carry `folder` in their command line, environment, or as their working directory."""
    return [pid for pid in _pids() if _carries(pid, os.fsencode(folder))]


def wait_gone(folder: Path, deadline: float = 20.0) -> list[int]:
    """Wait until no process of `folder` is left; what is left after `deadline` seconds."""
    ends = time.monotonic() + deadline
    while (left := processes_of(folder)) and time.monotonic() < ends:
        time.sleep(0.02)
    return left


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _carries(pid: int, mark: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        texts.append(os.readlink(f"/proc/{pid}/cwd".encode()))
    except OSError:
        return False
    return alive(pid) and any(mark in text for text in texts)
