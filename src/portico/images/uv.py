"""Calling uv for a build."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from portico.images.base import BuildError
from portico.images.disk import explain_full, says_full, uv_folders
from portico.images.interpreters import Interpreter
from portico.images.log import BuildLog
from portico.images.process import run

LONGEST_REASON = 600


@dataclass(frozen=True, kw_only=True)
class Uv:
    """uv within one build: its output goes to `log`, its processes hold `lock`. `root` is the images' folder."""

    log: BuildLog
    lock: int
    root: Path

    async def venv(self, folder: Path, python: str, env: Mapping[str, str]) -> None:
        """Make a virtual environment of the interpreter at `python`."""
        command = ["venv", "--no-project", "--python", python, str(folder)]
        await self._checked("making the environment", command, env, self.root)

    async def pip_install(
        self, what: str, arguments: Sequence[str], python: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        """Install for the interpreter at `python`; `what` names the step in the log and in errors."""
        # --project: no pyproject.toml or uv.toml above the images' folder may have a say in a build.
        command = [
            "pip",
            "install",
            "--project",
            "/",
            "--python",
            str(python),
            "--compile-bytecode",
        ]
        await self._checked(what, [*command, *arguments], env, cwd)

    async def pythons(self, env: Mapping[str, str]) -> list[Interpreter]:
        """Every interpreter that uv finds on this machine."""
        command = [
            "python",
            "list",
            "--project",
            "/",
            "--only-installed",
            "--output-format",
            "json",
        ]
        output: list[str] = []
        status = await run(
            [find_uv(), *command], env=env, cwd=self.root, said=output.append, hold=(self.lock,)
        )
        # Interpreters that uv cannot use are warned about on lines of their own.
        listing = next(
            (line for line in output if line.startswith("[") and line.endswith("]")), None
        )
        if status != 0 or listing is None:
            raise BuildError(f"uv cannot list this machine's Pythons: {reason(output, status)}")
        return msgspec.json.decode(listing, type=list[Interpreter])

    async def _checked(
        self, what: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> None:
        output: list[str] = []

        def said(line: str) -> None:
            output.append(line)
            self.log.add(line)

        self.log.add(f"==> {what}")
        status = await run([find_uv(), *arguments], env=env, cwd=cwd, said=said, hold=(self.lock,))
        if status == 0:
            return
        why = (
            explain_full(self.root, *uv_folders(env))
            if says_full(output)
            else reason(output, status)
        )
        raise BuildError(f"{what} failed: {why}", self.log.tail())


def find_uv() -> str:
    """Path of the uv that was installed with this server. Raises `BuildError`."""
    beside = Path(sys.executable).with_name("uv")
    if os.access(beside, os.X_OK):
        return str(beside)
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError:
        raise BuildError("uv is missing beside this server's Python: pip install uv") from None


def reason(output: Sequence[str], status: int) -> str:
    """What uv said in short: its last error with the outermost cause and the innermost."""
    starts = [n for n, line in enumerate(output) if line.startswith(("error: ", "  × "))]
    if not starts:
        if status > 128:
            return f"uv was ended by signal {status - 128}; if this machine is short of memory, make room"
        return next((line for line in reversed(output) if line.strip()), f"uv ended with {status}")
    lines = output[starts[-1] :]
    heading = lines[0].removeprefix("error: ").removeprefix("  × ").strip().rstrip(":.")
    causes = [text for line in lines[1:] if (text := _cause(line))]
    said = ": ".join(dict.fromkeys([heading, *causes[:1], *causes[-1:]]))
    return said if len(said) <= LONGEST_REASON else said[: LONGEST_REASON - 1] + "…"


def _cause(line: str) -> str | None:
    text = line.strip()
    for mark in ("cause: ", "╰─▶ ", "├─▶ "):
        if text.startswith(mark):
            return text.removeprefix(mark)
    return None
