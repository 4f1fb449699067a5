"""A web function as the gateway sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from portico.pools.family import PoolSource
from portico.pools.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests for one web function go.

    `method` picks the address in a container; `timeout` is in seconds, from the start of an input's execution
    to its response head. An ephemeral app's answers carry the user's traceback.
    `tally` is where the outcomes of its requests are counted.
    """

    app_id: str
    function_id: str
    name: str
    method: str
    pools: PoolSource
    timeout: float
    ephemeral: bool = False
    requires_proxy_auth: bool = False
    tally: Tally = field(default_factory=Tally)
