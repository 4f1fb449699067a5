"""Identifiers: a two-letter kind, a dash, then 22 characters of randomness."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 22  # 62**22 is a little over 2**130


def new_id(kind: str) -> str:
    """A fresh identifier such as ``ap-3kTz…``; `kind` is one of ap, fu, fc, in, ta, st, wk, ws, tk, dp."""
    return f"{kind}-" + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
