"""The fuzzing client of Autobahn's test suite, which runs on CPython 2.7 only."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.home import Home
from benchmarks.model import MeasurementError
from benchmarks.processes import checked

REQUIREMENT = "autobahntestsuite==25.10.1"
PATIENCE = 3600.0  # seconds for the cases of one group
REFUSED = "failed ("
RUN = """
import site, sys
site.addsitedir(sys.argv[1])
sys.argv = ["wstest", "--mode", "fuzzingclient", "--spec", sys.argv[2]]
from autobahntestsuite.wstest import run
run()
"""


def python2() -> str | None:
    """A CPython 2.7 of this machine: in the path, or among pyenv's, whose name in the path may lead nowhere."""
    found = [shutil.which("python2.7"), *Path.home().glob(".pyenv/versions/2.7*/bin/python2.7")]
    for candidate in filter(None, found):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


class Fuzzer:
    """The fuzzing client, installed in a folder of its own."""

    def __init__(self, python: str, home: Home) -> None:
        self._python = python
        self._home = home
        self._packages = home.folder / "autobahn"
        self._runs = 0
        options = ("--quiet", "--disable-pip-version-check", "--target", self._packages)
        checked(
            [python, "-m", "pip", "install", *options, REQUIREMENT],
            env=home.environ,
            cwd=home.folder,
        )

    def verdicts(self, url: str, cases: Sequence[str]) -> Counter[str]:
        """How many cases ended how, by Autobahn's words; and how often the server closed with 1009, as ``1009``.

        Raises `MeasurementError` where they do not end, or none ran.
        """
        self._runs += 1
        folder = self._home.folder / f"autobahn-{self._runs}"
        folder.mkdir()
        spec = {
            "outdir": str(folder / "reports"),
            "servers": [{"agent": "server", "url": url.replace("http://", "ws://")}],
            "cases": list(cases),
        }
        (folder / "spec.json").write_text(json.dumps(spec), "utf-8")
        command = [self._python, "-c", RUN, str(self._packages), str(folder / "spec.json")]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(self._home.environ),
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"the cases {', '.join(cases)} did not end") from None
        said = (done.stdout + done.stderr).decode(errors="replace")
        index = folder / "reports" / "index.json"
        # It ends in order, without the cases to come, where a connection is refused.
        if done.returncode != 0 or not index.exists() or REFUSED in said:
            raise MeasurementError(f"the fuzzer failed:\n{said[-1000:]}")
        return counted(json.loads(index.read_text("utf-8")).get("server", {}))


def counted(results: dict[str, dict[str, object]]) -> Counter[str]:
    """The verdicts of a report, by the case. Raises `MeasurementError` for an empty one."""
    if not results:
        raise MeasurementError("no case was run")
    verdicts: Counter[str] = Counter(str(one["behavior"]) for one in results.values())
    verdicts["1009"] = sum(one["remoteCloseCode"] == 1009 for one in results.values())
    return verdicts
