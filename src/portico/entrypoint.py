"""What ``portico run`` runs on the user's own machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portico.callables import is_plain_function
from portico.exception import InvalidError


class LocalEntrypoint:
    """A function decorated with ``@app.local_entrypoint()``; calling it calls the function."""

    def __init__(self, raw: Callable[..., Any], name: str) -> None:
        if not is_plain_function(raw):
            raise InvalidError(
                f"@app.local_entrypoint() decorates a plain function, not {raw!r}; it runs here and calls others"
            )
        self.raw = raw
        self.name = name
        self.__doc__ = raw.__doc__
        self.__name__ = raw.__name__
        self.__wrapped__ = raw

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<LocalEntrypoint {self.name}>"
