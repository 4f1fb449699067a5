"""Libraries that put green threads in the place of Python's, on which no container can serve."""

from __future__ import annotations

import sys

from portico.runner.failures import CannotServe

PATCHERS = (
    ("gevent.monkey", "is_module_patched", "threading"),
    ("eventlet.patcher", "is_monkey_patched", "thread"),
)


def refuse_patched_threads() -> None:
    """Raise `CannotServe` where the user's code has had threads replaced.

    Green threads run when their library's own loop does, and that of a container never gives it a turn.
    """
    for name, asks, about in PATCHERS:
        module = sys.modules.get(name)
        if module is None or not getattr(module, asks)(about):
            continue
        library = name.partition(".")[0]
        raise CannotServe(
            f"{library} has replaced Python's threads, on which this container serves: leave out its monkey "
            "patching (with @wsgi_app each request has a thread already), or start a server that "
            f"runs on {library} in a process of its own with @web_server"
        )
