"""The commands that take a script: `serve`, `deploy` and `run`."""

from __future__ import annotations

from typing import Annotated

import typer

from portico.cli.environments import InEnvironment, environment_in_use
from portico.cli.targets import script_target

Script = Annotated[
    str, typer.Argument(metavar="FILE", help="The script, or FILE::name of one of its apps.")
]


def serve(
    file: Script,
    env: InEnvironment = None,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Follow changes of the app's files.")
    ] = True,
) -> None:
    """Run an app while you work on it: its URLs, its logs, and every change as you save it."""
    target, environment = script_target(file), environment_in_use(env)
    import asyncio

    from portico.cli.serve import serve_app, until_stopped

    asyncio.run(until_stopped(serve_app(target, environment, reload=reload)))


def deploy(
    file: Script,
    name: Annotated[str | None, typer.Option(help="Deploy under this name.")] = None,
    env: InEnvironment = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Deploy an app: it stays when this command ends, and replaces one of the same name."""
    target, environment = script_target(file), environment_in_use(env)
    import asyncio

    from portico.cli.deploy import deploy_app

    asyncio.run(deploy_app(target, name, environment, as_json=json))


def run(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE[::NAME]", help="The script, and what to run of it.")
    ],
    env: InEnvironment = None,
) -> None:
    """Run a local entrypoint, or one function, with its arguments as options: --n 3.

    What follows FILE is for the function: `portico run FILE --help` lists its options.
    """
    target = script_target(file)
    environment_in_use(env)
    from portico.cli.run import run_script

    options = context.args
    run_script(target, options[1:] if options[:1] == ["--"] else options)
