"""`portico proxy-token`: who may reach web functions that ask for a proxy token."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Proxy tokens, for web functions that ask for one.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Make a proxy token and print it, this once, as the two headers to send."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import console, print_json

    with connect_for_looking() as client:
        token = client.create_proxy_token(name)
    if json:
        print_json(token)
        return
    console().print(f"Modal-Key: {token.key}\nModal-Secret: {token.secret}")
    console(stderr=True).print(
        "Send both headers, or `Authorization: Bearer <key>.<secret>`. The secret is not shown again.",
        style="dim",
    )


@app.command("list")
def list_proxy_tokens(json: Json = False) -> None:
    """List proxy tokens, without their secrets."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import age, print_list

    with connect_for_looking() as client:
        tokens = client.proxy_tokens()
    print_list(
        tokens,
        {
            "KEY": lambda info: info.key,
            "NAME": lambda info: info.name,
            "CREATED": lambda info: age(info.created_at),
        },
        as_json=json,
        empty="No proxy tokens. `portico proxy-token create` makes one.",
    )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The token's key (wk-…).")],
) -> None:
    """End a proxy token: the next request with it is refused."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import console

    with connect_for_looking() as client:
        client.revoke_proxy_token(key)
    console().print(f"Revoked {key}.")
