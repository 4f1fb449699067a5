"""Where this code runs: on the user's machine, or in a container."""

from __future__ import annotations

import os

CONTAINER_VARIABLE = "PORTICO_CONTAINER_ID"
"""Set in every container, to its id."""


def is_local() -> bool:
    """True outside containers: where a script is loaded to be served, deployed or run."""
    return CONTAINER_VARIABLE not in os.environ
