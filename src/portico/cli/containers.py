"""`portico container`: what runs right now."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli.environments import OfEnvironment, checked, environment_in_use

if TYPE_CHECKING:
    from portico.wire.api import ContainerInfo

app = typer.Typer(help="Live containers.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The container's id (ta-…).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_containers(
    app_name: Annotated[
        str | None, typer.Option("--app", metavar="NAME", help="Only this app's.")
    ] = None,
    env: OfEnvironment = None,
    json: Json = False,
) -> None:
    """List live containers, of every environment unless an app or an environment is named."""
    environment = None if env is None else checked(env)
    if app_name is not None:
        environment = environment_in_use(env)
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import age, print_list

    def shown(info: ContainerInfo) -> str:
        """The function; for a parametrized class with the values that it serves."""
        values = ", ".join(
            f"{name}={reprlib.repr(value)}" for name, value in info.parameters.items()
        )
        return f"{info.function}({values})" if values else info.function

    with connect_for_looking() as client:
        containers = client.containers(app_name, environment=environment)
    print_list(
        containers,
        {
            "ID": lambda info: info.container_id,
            "APP": lambda info: info.app,
            "ENVIRONMENT": lambda info: info.environment,
            "FUNCTION": shown,
            "STATE": lambda info: info.state,
            "INPUTS": lambda info: str(info.running),
            "STARTED": lambda info: age(info.started_at),
        },
        as_json=json,
        empty="No containers run.",
    )


@app.command()
def logs(
    container_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many lines of the past.")] = 100,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON document, not with --follow.")
    ] = False,
) -> None:
    """Print what a container printed."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.log_output import print_logs

    if json and follow:
        raise typer.BadParameter("--json is one document, and --follow has no end; leave one out")
    with connect_for_looking() as client:
        print_logs(client.container_logs(container_id, tail=tail, follow=follow), as_json=json)


@app.command()
def stop(container_id: Id) -> None:
    """Drain and end a container; its pool starts another where one is needed."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import console

    with connect_for_looking() as client:
        client.stop_container(container_id)
    console().print(f"Stopping {container_id}.")
