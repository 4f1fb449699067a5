"""Encryption of what is kept: the installation's key, and sealed values."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portico.control.errors import ControlError

KEY_BYTES = 32
NONCE_BYTES = 12  # RFC 5116 §5.2
FORMAT = b"\x01"


class CryptoError(ControlError):
    """The key is unusable, or a sealed value was not made with it."""

    title = "Decryption failed"


def load_or_create_key(path: Path) -> bytes:
    """The installation's key from `path` (mode 0600), made there at the first start.

    Of processes that start at the same time all get the same key. Raises `CryptoError` for a file that
    holds no key or that others may read.
    """
    if not path.exists():
        _create_key(path)
    if path.stat().st_mode & 0o077:
        raise CryptoError(f"{path} can be read by other users: run `chmod 600 {path}`")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise CryptoError(
            f"{path} does not hold a key of {KEY_BYTES} bytes: restore it from a backup"
        )
    return key


def _create_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(AESGCM.generate_key(bit_length=KEY_BYTES * 8))
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists, so a key in use is never replaced.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


class Vault:
    """Seals and opens values with AES-256-GCM.

    `purpose` names what a value is for and is authenticated with it: a sealed value opens only in the
    place it was made for.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, purpose: str) -> bytes:
        """`value` encrypted, with its format byte and nonce in front."""
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, value, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The value that was sealed. Raises `CryptoError`."""
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != FORMAT or len(nonce) != NONCE_BYTES:
            raise CryptoError(f"the stored {purpose} is in a format this version does not know")
        try:
            return self._cipher.decrypt(nonce, body, purpose.encode())
        except InvalidTag:
            raise CryptoError(
                f"the stored {purpose} was not made with this installation's key: "
                "restore the key file that belongs to the database"
            ) from None
