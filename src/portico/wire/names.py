"""Names that end up in URLs: what a user may write, and the host label made of it (SPEC §4)."""

from __future__ import annotations

import hashlib
import re

MAX_LABEL = 63  # octets in one DNS label, RFC 1035 §2.3.4
USER_LABEL = re.compile(r"(?!-)(?!\d+$)[a-z0-9-]{1,63}(?<!-)")
MAIN = "main"
"""The environment of whatever names none; the only one that hosts do not show."""
ENVIRONMENT_NAME = re.compile(r"(?!-)[a-z0-9-]{1,32}(?<!-)")
APP_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def label_problem(label: str) -> str | None:
    """Why `label` cannot be a user's URL label, or None where it can."""
    if USER_LABEL.fullmatch(label):
        return None
    return (
        f"label {label!r} cannot be part of a URL: use 1 to 63 of a-z, 0-9 and '-', "
        "not beginning or ending with '-' and not digits alone"
    )


def app_name_problem(name: str) -> str | None:
    """Why `name` cannot name an app, or None where it can."""
    if APP_NAME.fullmatch(name):
        return None
    return (
        f"app name {name!r} cannot be part of a URL: use 1 to 64 letters, digits, '.', '_' and '-', "
        "beginning and ending with a letter or digit"
    )


def environment_problem(name: str) -> str | None:
    """Why `name` cannot name an environment, or None where it can."""
    if ENVIRONMENT_NAME.fullmatch(name):
        return None
    return (
        f"environment {name!r} cannot be part of a URL: use 1 to 32 of a-z, 0-9 and '-', "
        "not beginning or ending with '-'"
    )


def slug(text: str) -> str:
    """`text` lower-cased, every character outside ``[a-z0-9-]`` turned to ``-``."""
    return re.sub(r"[^a-z0-9-]", "-", text.lower())


def host_label(
    workspace: str, label: str, *, environment: str = MAIN, ephemeral: bool = False
) -> str:
    """The leftmost DNS label of a web function's host, at most 63 characters.

    Over-long ones keep a prefix and the first 6 hex digits of the SHA-256 of the whole.
    """
    owner = workspace if environment == MAIN else f"{workspace}-{environment}"
    suffix = "-dev" if ephemeral else ""
    whole = f"{slug(owner)}--{label}{suffix}"
    if len(whole) <= MAX_LABEL:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
    kept = MAX_LABEL - len("-") - len(digest) - len(suffix)
    return f"{whole[:kept]}-{digest}{suffix}"
