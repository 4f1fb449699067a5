"""How commands end when something is wrong."""

from __future__ import annotations

import os
import sys
import traceback

from portico import exception
from portico.cli.traces import user_traceback

FAILED = 1
USAGE = 2


class UserCodeError(Exception):
    """The user's own code failed; `trace` is its traceback, already trimmed."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace

    @classmethod
    def from_exception(cls, message: str, error: BaseException) -> UserCodeError:
        """Wrap an exception that the user's code raised in this process."""
        return cls(message, user_traceback(error))


def debugging() -> bool:
    """Whether Portico's own stack traces are wanted (``--debug`` or ``PORTICO_DEBUG=1``)."""
    return os.environ.get("PORTICO_DEBUG", "") not in ("", "0")


def report(error: Exception) -> int:
    """Print `error` on stderr, one red line and its hints, and return the exit code."""
    if debugging():
        traceback.print_exception(error)
    if isinstance(error, UserCodeError):
        print(error.trace, file=sys.stderr)
        print_error(str(error))
    elif isinstance(error, exception.Error):
        print_error(str(error), getattr(error, "detail", ""))
    elif isinstance(error, OSError) and error.filename is not None:
        print_error(
            f"cannot use {error.filename}: {error.strerror}\n"
            "Portico keeps everything in its state folder; PORTICO_STATE_DIR names another."
        )
    else:
        print_error(
            f"Portico failed: {type(error).__name__}: {error}\n"
            "This is a defect of Portico; run again with `portico --debug …` and report what it shows."
        )
    return FAILED


def print_error(message: str, detail: str = "") -> None:
    """``error: …`` in red where stderr is a terminal; the message's further lines are hints."""
    first, *hints = message.splitlines() or ["unknown"]
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    if detail:
        print(detail.rstrip("\n"), file=sys.stderr)
    print(f"\x1b[31merror: {first}\x1b[0m" if colour else f"error: {first}", file=sys.stderr)
    for hint in hints:
        print(hint, file=sys.stderr)
