"""Secrets: environment variables for containers whose values stay out of the code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from portico.checks import text, variables
from portico.exception import InvalidError
from portico.locality import is_local
from portico.names import checked_environment
from portico.wire.manifest import InlineSecret, NamedSecret, SecretRef


class Secret:
    """Environment variables injected into containers; of several secrets, later ones win."""

    def __init__(self, spec: SecretRef) -> None:
        self.spec = spec

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        environment_name: str | None = None,
        required_keys: Iterable[str] = (),
    ) -> Secret:
        """The secret the server stores as `name`; a deploy fails if it lacks one of `required_keys`.

        All environments share their secrets, so `environment_name` changes nothing.
        """
        checked_environment(environment_name)
        return cls(
            NamedSecret(name=text("a secret's name", name), required_keys=tuple(required_keys))
        )

    @classmethod
    def from_dict(cls, env_dict: Mapping[str, str | None] | None = None) -> Secret:
        """A secret of these values, which travel with the app; keys whose value is None are left out."""
        given = {key: value for key, value in (env_dict or {}).items() if value is not None}
        return cls(InlineSecret(values=variables("Secret.from_dict", given)))

    @classmethod
    def from_dotenv(
        cls, path: str | os.PathLike[str] | None = None, *, filename: str = ".env"
    ) -> Secret:
        """The values of a dotenv file on the machine that serves or deploys.

        `path` is a folder, or a file in it such as ``__file__``; without it the search begins in the working
        folder and goes up. Raises `InvalidError` where there is no such file.
        """
        if not is_local():
            return cls.from_dict()
        from portico.dotenv import find, parse

        file = find(path, filename)
        return cls(InlineSecret(values=parse(file.read_text(encoding="utf-8"), os.environ)))

    @classmethod
    def from_local_environ(cls, env_keys: Iterable[str]) -> Secret:
        """Variables of the environment that serves or deploys. Raises `InvalidError` for unset ones."""
        if not is_local():
            return cls.from_dict()
        if isinstance(env_keys, str):
            raise InvalidError(f"from_local_environ takes a list: write [{env_keys!r}]")
        wanted = list(env_keys)
        if missing := [key for key in wanted if key not in os.environ]:
            raise InvalidError(
                f"not set in this environment: {', '.join(missing)}; export them before you serve or deploy"
            )
        return cls.from_dict({key: os.environ[key] for key in wanted})

    def __repr__(self) -> str:
        # Keys only: values must not reach logs.
        if isinstance(self.spec, NamedSecret):
            return f"Secret.from_name({self.spec.name!r})"
        return f"Secret({', '.join(sorted(self.spec.values))})"
