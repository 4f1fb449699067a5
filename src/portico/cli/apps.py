"""`portico app`: what runs, what it says, and its versions."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated

import typer

from portico.cli.environments import InEnvironment, OfEnvironment, checked, environment_in_use

app = typer.Typer(help="Apps on the server.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The app's name or id.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@app.command("list")
def list_apps(
    all: Annotated[bool, typer.Option("--all", help="Stopped apps too.")] = False,
    env: OfEnvironment = None,
    json: Json = False,
) -> None:
    """List apps, of every environment unless one is named."""
    environment = None if env is None else checked(env)
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import age, print_list
    from portico.wire.api import AppInfo

    with connect_for_looking() as client:
        apps = client.apps(all=all, environment=environment)

    def state(info: AppInfo) -> str:
        return f"{info.state} (failing)" if info.error else info.state

    print_list(
        apps,
        {
            "NAME": lambda info: info.name,
            "ENVIRONMENT": lambda info: info.environment,
            "ID": lambda info: info.app_id,
            "STATE": state,
            "VERSION": lambda info: str(info.version),
            "CONTAINERS": lambda info: str(info.containers),
            "CREATED": lambda info: age(info.created_at),
        },
        as_json=json,
        empty="No apps. `portico deploy FILE` makes one.",
    )


@app.command()
def describe(name: Name, env: InEnvironment = None, json: Json = False) -> None:
    """Show an app and its URLs."""
    environment = environment_in_use(env)
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import age, console, function_tree, print_json

    with connect_for_looking() as client:
        info = client.lookup_app(name, environment=environment)
    if json:
        print_json(info)
        return
    out = console()
    out.print(function_tree(f"{info.name} ({info.app_id})", info.functions))
    out.print(
        f"{info.state} in {info.environment}, version {info.version}, "
        f"created {age(info.created_at)}, {info.containers} containers"
    )
    if info.error:
        out.print(f"It does not run: {info.error}", style="red")


@app.command()
def logs(
    name: Name,
    env: InEnvironment = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many lines of the past.")] = 100,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only lines this young: 30s, 10m, 2h, 1d.")
    ] = None,
    container: Annotated[
        str | None, typer.Option(metavar="ta-…", help="Only this container's lines.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document, not with --follow.")
    ] = False,
) -> None:
    """Print what an app's containers printed."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.log_output import print_logs

    if json and follow:
        raise typer.BadParameter("--json is one document, and --follow has no end; leave one out")
    after = None if since is None else time.time() - seconds(since)
    environment = environment_in_use(env)
    with connect_for_looking() as client:
        lines = client.app_logs(
            name,
            environment=environment,
            tail=tail,
            since=after,
            container=container,
            follow=follow,
        )
        print_logs(lines, as_json=json)


@app.command()
def stop(name: Name, env: InEnvironment = None, json: Json = False) -> None:
    """Stop an app: its containers end and its URLs answer 404."""
    environment = environment_in_use(env)
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import console, print_json
    from portico.cli.progress import Progress

    with (
        Progress(console(stderr=True), f"Stopping {name}"),
        connect_for_looking() as client,
    ):
        info = client.stop_app(name, environment=environment)
    if json:
        print_json(info)
    else:
        console().print(f"Stopped {info.name} ({info.app_id}).")


@app.command()
def history(name: Name, env: InEnvironment = None, json: Json = False) -> None:
    """List an app's versions."""
    environment = environment_in_use(env)
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import print_list

    with connect_for_looking() as client:
        versions = client.app_history(name, environment=environment)
    print_list(
        versions,
        {
            "VERSION": lambda info: f"{info.version}{' (current)' if info.current else ''}",
            "DEPLOYED": lambda info: moment(info.created_at),
            "FUNCTIONS": lambda info: str(info.functions),
            "ROLLBACK OF": lambda info: str(info.rolled_back_from or ""),
        },
        as_json=json,
        empty="No versions.",
    )


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="By default the one before the current.")
    ] = None,
    env: InEnvironment = None,
    json: Json = False,
) -> None:
    """Deploy an older version of an app again."""
    environment = environment_in_use(env)
    from portico.cli.deployed import print_deployed
    from portico.cli.output import console
    from portico.cli.progress import Progress
    from portico.client import connect

    with Progress(console(stderr=True), f"Rolling {name} back") as progress, connect() as client:
        deployed = client.rollback(
            name, version, environment=environment, on_event=progress.deploy_event
        )
    print_deployed(deployed, as_json=json)


def seconds(age: str) -> float:
    """An age such as ``10m`` in seconds; a usage error for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", age)
    if match is None:
        raise typer.BadParameter(
            f"{age!r} is not an age: write a number and s, m, h or d, as in 10m"
        )
    return float(match[1]) * UNITS[match[2]]


def moment(timestamp: float) -> str:
    """Seconds since the epoch as local date and time."""
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
