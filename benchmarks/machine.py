"""What the numbers were measured on and with."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import clean_environ

PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "websockets")
_NUMBER = re.compile(r"\S*\d\.\d\S*")
_VERSIONS = """
import json, platform, sys
from importlib.metadata import version
print(json.dumps({"Python": platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))
"""


@dataclass(frozen=True)
class Machine:
    """The machine, its tools and the code under test at the start of a run."""

    date: str
    processor: str
    cores: int
    memory: str
    system: str
    load: float
    tools: Mapping[str, str]


def this_machine() -> Machine:
    """The machine as it is now. `load` is its one-minute average: above about 0.5, numbers mean little."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        memory=f"{pages / 2**30:.0f} GiB",
        system=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0],
        tools={
            "portico": f"{version('portico')}{_commit()}, {_request_path()}",
            "wrk": _version("wrk", "-v"),
            "nginx": _version("nginx", "-v"),
            "haproxy": _version("haproxy", "-v"),
        },
    )


def package_versions(python: Path) -> dict[str, str]:
    """Versions of Python and of what matters for speed in the environment of `python`."""
    output = subprocess.run(
        [python, "-I", "-c", _VERSIONS, *PACKAGES],
        check=True,
        capture_output=True,
        text=True,
        env=clean_environ(),
    ).stdout
    versions: dict[str, str] = json.loads(output)
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _cores() -> int:
    return os.cpu_count() or 1


def _commit() -> str:
    """The commit of this checkout, marked where files differ from it; empty where git cannot tell."""
    if shutil.which("git") is None:
        return ""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return f" ({described.stdout.strip()})" if described.returncode == 0 else ""


def _request_path() -> str:
    """How the gateway runs: see ``bootstrap.py compile``."""
    found = importlib.util.find_spec("portico.gateway.exchange")
    compiled = found is not None and not str(found.origin).endswith(".py")
    return f"request path {'compiled' if compiled else 'interpreted'}"


def _version(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return "not installed"
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
