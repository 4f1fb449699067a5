"""How containers that listen on ports stay out of each other's way: a network namespace each, where Linux lets us.

The program pasta (Debian's package passt) makes the namespace and carries what leaves it through ordinary sockets
of the user who runs it. So it needs no root, no bridge, no address range and no firewall rule of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable

from portico.wire.container import Network

PASTA = "pasta"
RESOLVER = "169.254.1.1"  # link-local (RFC 3927), so nobody outside has it
OPTIONS = (
    "--foreground",
    "--quiet",
    "--config-net",
    # Nothing listens outside for the container, and no port inside is taken for a service of the machine.
    *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
    "--no-map-gw",
    *("--dns-forward", RESOLVER),
)
AS_ROOT = ("--runas", "0", "--netns-only")  # root keeps its user namespace, and so its rights
TRIAL_PATIENCE = 10.0  # seconds


class Networks:
    """Finds out, by trying, whether this machine lets containers have networks of their own.

    `find` looks a program up. A machine that lets us is asked once; one that does not may have been mended since.
    """

    def __init__(self, find: Callable[[str], str | None] = shutil.which) -> None:
        self._find = find
        self._own: Network | None = None
        self._trial: asyncio.Task[Network] | None = None

    async def choose(self) -> Network:
        """The network for containers that start now."""
        if self._own is not None:
            return self._own
        if self._trial is None:
            self._trial = asyncio.create_task(self._try())
            self._trial.add_done_callback(self._tried)
        return await asyncio.shield(self._trial)

    def _tried(self, trial: asyncio.Task[Network]) -> None:
        self._trial = None
        if not trial.cancelled() and trial.exception() is None and trial.result().helper:
            self._own = trial.result()

    async def _try(self) -> Network:
        if not sys.platform.startswith("linux"):
            return Network(shared_because="only Linux has network namespaces")
        program = self._find(PASTA)
        if program is None:
            return Network(
                shared_because="the program pasta, which would give each container a network of its own, is "
                "not installed (on Debian and Ubuntu: apt install passt)"
            )
        helper = (program, *OPTIONS, *(AS_ROOT if os.geteuid() == 0 else ()), "--")
        problem = await _problem(helper)
        return (
            Network(shared_because=problem)
            if problem
            else Network(helper=helper, resolver=RESOLVER)
        )


async def _problem(helper: tuple[str, ...]) -> str:
    """Why `helper` does not work here; empty where it does."""
    # Files and not pipes, which what a failed pasta leaves behind would keep open.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                *helper,
                *("echo", "inside"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            return f"pasta cannot be run: {error}"
        try:
            await asyncio.wait_for(process.wait(), TRIAL_PATIENCE)
        except TimeoutError:
            return f"pasta made no network namespace within {TRIAL_PATIENCE:g} seconds"
        finally:
            with contextlib.suppress(ProcessLookupError):  # it leaves what it meant to run behind
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        output.seek(0)
        errors.seek(0)
        printed, said = output.read(), errors.read()
    if process.returncode == 0 and printed.strip() == b"inside":
        return ""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if "syslog" not in line]
    last = lines[-1] if lines else f"it ended with status {process.returncode}"
    return f"pasta cannot make a network namespace here: {last}"
