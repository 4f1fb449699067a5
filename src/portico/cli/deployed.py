"""What a deploy leaves: the functions that serve now."""

from __future__ import annotations

import msgspec

from portico.cli.output import console, function_tree, print_json
from portico.wire.api import Deployed


def print_deployed(deployed: Deployed, *, as_json: bool) -> None:
    """The version that serves, as a tree or as SPEC §3's JSON document."""
    if as_json:
        print_json(msgspec.structs.asdict(deployed))
        return
    title = f"{deployed.name} version {deployed.version}"
    console().print(function_tree(title, deployed.functions))
