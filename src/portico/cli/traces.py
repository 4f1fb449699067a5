"""The user's traceback, without Portico's frames and the import system's."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

PACKAGE = str(Path(__file__).resolve().parents[1])


def is_user_file(filename: str) -> bool:
    """Whether a frame's file is neither Portico's nor the import system's."""
    return not filename.startswith((PACKAGE, "<frozen "))


def user_traceback(error: BaseException) -> str:
    """`error` as Python would print it, with only the user's and their libraries' frames."""
    report = traceback.TracebackException.from_exception(error)
    for part in _chain(report):
        frames = [frame for frame in part.stack if is_user_file(frame.filename)]
        part.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format()).rstrip("\n")


def user_location(error: BaseException) -> str | None:
    """``file:line`` of the innermost user frame of `error`, if it has one."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if is_user_file(frame.filename)]
    return f"{mine[-1].filename}:{mine[-1].lineno}" if mine else None


def _chain(
    report: traceback.TracebackException | None, seen: frozenset[int] = frozenset()
) -> Iterator[traceback.TracebackException]:
    if report is None or id(report) in seen:
        return
    seen |= {id(report)}
    yield report
    yield from _chain(report.__cause__, seen)
    yield from _chain(report.__context__, seen)
    for inner in getattr(report, "exceptions", None) or ():
        yield from _chain(inner, seen)
