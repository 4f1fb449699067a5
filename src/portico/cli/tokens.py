"""`portico token`: who may use the control API."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Tokens for the control API.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    json: Json = False,
) -> None:
    """Make a token and print its secret, this once."""
    from portico.cli.output import console, print_json
    from portico.client import connect

    with connect() as client:
        token = client.create_token(name)
    if json:
        print_json(token)
        return
    console().print(token.secret or "")
    console(stderr=True).print(
        f"Token {token.name} ({token.id}). Use it as PORTICO_TOKEN; it is not shown again.",
        style="dim",
    )


@app.command("list")
def list_tokens(json: Json = False) -> None:
    """List tokens, without their secrets."""
    from portico.cli.output import age, print_list
    from portico.client import connect

    with connect() as client:
        tokens = client.tokens()
    print_list(
        tokens,
        {
            "ID": lambda info: info.id,
            "NAME": lambda info: info.name,
            "CREATED": lambda info: age(info.created_at),
        },
        as_json=json,
        empty="No tokens.",
    )


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id (tk-…).")],
) -> None:
    """End a token at once."""
    from portico.cli.output import console
    from portico.client import connect

    with connect() as client:
        client.revoke_token(token_id)
    console().print(f"Revoked {token_id}.")
