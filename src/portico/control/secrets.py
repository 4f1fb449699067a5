"""Named secrets: sealed in the store, in the clear only in this process's memory."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping

import msgspec

from portico.control.crypto import CryptoError, Vault
from portico.control.errors import ConflictError, DeployError, InvalidRequestError, NotFoundError
from portico.control.store.secrets import SecretRow, SecretStore
from portico.wire.api import PutSecret, SecretInfo
from portico.wire.ids import new_id
from portico.wire.manifest import NamedSecret

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Secrets:
    """Secrets by name, with a copy in memory so that containers get theirs without waiting for the store."""

    def __init__(self, store: SecretStore, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._values: dict[str, dict[str, str]] = {}

    async def load(self) -> None:
        """Read all secrets anew: another process may have changed them. What cannot be opened is missing."""
        values = {}
        for row in await self._store.all():
            opened = self._try_open(row)
            if opened is not None:
                values[row.name] = opened
        self._values = values

    def values(self, name: str) -> Mapping[str, str] | None:
        """What the secret held when it was last read."""
        return self._values.get(name)

    def require(self, wanted: Iterable[NamedSecret]) -> None:
        """Raise `DeployError`, with the command to run, unless every secret is there with its keys."""
        for secret in wanted:
            values = self._values.get(secret.name)
            keys = " ".join(f"{key}=…" for key in secret.required_keys or ("KEY",))
            if values is None:
                raise DeployError(
                    f"secret {secret.name!r} does not exist: "
                    f"run `portico secret create {secret.name} {keys}`"
                )
            missing = [key for key in secret.required_keys if key not in values]
            if missing:
                raise DeployError(
                    f"secret {secret.name!r} has no {', '.join(missing)}: run "
                    f"`portico secret create {secret.name} {keys} --force` with all of its keys"
                )

    async def put(self, name: str, request: PutSecret) -> SecretInfo:
        """Create or, where asked to, replace a secret."""
        if NAME.fullmatch(name) is None:
            raise InvalidRequestError(
                f"secret name {name!r} must be 1 to 64 letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit"
            )
        for key, value in request.values.items():
            if not key or not key.isprintable() or "=" in key or "\0" in value:
                raise InvalidRequestError(f"{key!r} cannot be an environment variable")
        now = time.time()
        payload = self._vault.seal(msgspec.json.encode(request.values), _purpose(name))
        draft = SecretRow(new_id("st"), name, payload, now, now)
        row = await self._store.put(draft, overwrite=request.overwrite)
        if row is None:
            raise ConflictError(f"secret {name!r} exists")
        self._values[name] = dict(request.values)
        return _info(row, request.values)

    async def all(self) -> list[SecretInfo]:
        """All secrets by name, with the names of their keys."""
        return [_info(row, self._open(row)) for row in await self._store.all()]

    async def delete(self, name: str) -> None:
        """Remove a secret; containers that run keep what they were given."""
        if not await self._store.delete(name):
            raise NotFoundError(f"there is no secret {name!r}: see `portico secret list`")
        self._values.pop(name, None)

    def _try_open(self, row: SecretRow) -> dict[str, str] | None:
        try:
            return self._open(row)
        except CryptoError as error:
            logger.warning("%s", error)
            return None

    def _open(self, row: SecretRow) -> dict[str, str]:
        clear = self._vault.open(row.payload, _purpose(row.name))
        return msgspec.json.decode(clear, type=dict[str, str])


def _purpose(name: str) -> str:
    return f"secret {name}"


def _info(row: SecretRow, values: Mapping[str, str]) -> SecretInfo:
    return SecretInfo(
        id=row.id,
        name=row.name,
        keys=sorted(values),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
