"""Examples as their docstrings tell them: the commands, and what each prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

PROMPT = "    $ "
LOOPBACK_URL = re.compile(r"http://127\.0\.0\.1:\d+")
BUILD_TIMEOUT = 150.0  # seconds until a URL must be printed; an image may have to be built first
STOP_TIMEOUT = 30.0  # seconds


class Step(NamedTuple):
    """A command, and the output that the docstring shows for it (None: it shows none)."""

    command: str
    output: str | None


def steps(example: Path) -> list[Step]:
    """The commands of an example's docstring, in order."""
    docstring = example.read_text("utf-8").split('"""')[1]
    lines = docstring.splitlines()
    found: list[Step] = []
    for number, line in enumerate(lines):
        if not line.startswith(PROMPT):
            continue
        shown: list[str] = []
        for following in lines[number + 1 :]:
            if not following.startswith("    ") or following.startswith(PROMPT):
                break
            shown.append(following[4:])
        found.append(Step(line[len(PROMPT) :], "\n".join(shown) if shown else None))
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether `printed` is what a docstring shows; ``...`` on a line of its own stands for any rest."""
    head, cut, _ = shown.partition("\n...")
    printed = printed.rstrip("\n")
    head = head.rstrip()
    return printed.startswith(head) if cut else printed == head


class Shell:
    """Runs an example's commands in the checkout; remembers the URL that ``serve`` or ``deploy`` printed."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = {**os.environ, **variables}

    def run(self, command: str) -> str:
        """What `command` prints on stdout. Fails with all it printed if it fails."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        self.remember_url(done.stdout)
        return done.stdout

    def remember_url(self, output: str) -> None:
        """Take the URL on a port of its own, if there is one in `output`, as ``$URL``."""
        if url := LOOPBACK_URL.search(output):
            self._variables["URL"] = url[0]

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """``portico serve`` while the context lasts, from the printing of its URL to the end by Ctrl-C."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=ROOT,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = Output(process)
        try:
            self.remember_url(output.wait_for(LOOPBACK_URL, BUILD_TIMEOUT))
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_TIMEOUT) == 0, output.text
        finally:
            process.kill()
            process.wait()
            output.close()


class Output:
    """What a process prints, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.text = ""
        self._ended = False
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(process.stdout,))
        self._thread.start()

    def wait_for(self, pattern: re.Pattern[str], seconds: float) -> str:
        """Everything printed so far, once `pattern` is in it; fails where the process ends before."""
        with self._more:
            self._more.wait_for(lambda: self._ended or pattern.search(self.text), seconds)
            assert pattern.search(self.text), self.text
            return self.text

    def close(self) -> None:
        """Wait for the end of the output; the process has ended."""
        self._thread.join()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._more:
                    self.text += line
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()
