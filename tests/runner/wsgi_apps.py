"""What the tests of ``wsgi_app`` run: an app with a function for each path."""

from __future__ import annotations

import textwrap
from pathlib import Path

from containers import Machine, Watcher
from portico.engines.local import LocalContainer
from portico.wire.image import ImageEnvironment

FRAME = """
import gzip, json, pathlib, resource, sys, threading, time
import portico

app = portico.App("tests")
TEXT = [("content-type", "text/plain")]

def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.005)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

{handlers}

@app.function()
@portico.wsgi_app()
def f():
    return lambda environ, start: globals()[environ["PATH_INFO"].strip("/")](environ, start)
"""


async def serving(
    machine: Machine, image: ImageEnvironment, *handlers: str, **options: object
) -> tuple[LocalContainer, Watcher]:
    """A container in which each function of `handlers` is a WSGI app at its name."""
    code = FRAME.replace("{handlers}", "\n".join(map(textwrap.dedent, handlers)))
    return await machine.ready(image, code, kind="wsgi_app", **{"max_inputs": 9, **options})


def folder_of(machine: Machine) -> Path:
    """The working folder of the only container."""
    (folder,) = (p for p in (machine.folder / "run").iterdir() if p.name.startswith("ta-"))
    return folder
