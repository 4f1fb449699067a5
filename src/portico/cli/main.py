"""The `portico` command: its groups, and how every command ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import portico
from portico.cli import apps, config, containers, proxy_tokens, secrets, server, tokens
from portico.cli.commands import deploy, run, serve
from portico.cli.errors import FAILED, report

INTERRUPTED = 130  # typer's status after Ctrl-C; ours are 0, 1 and 2

app = typer.Typer(
    name="portico",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(deploy)
# All that follows the file is the function's, whatever it is called: it may have an `env` of its own.
app.command(context_settings={"allow_interspersed_args": False, "allow_extra_args": True})(run)
app.add_typer(server.app, name="server")
app.add_typer(apps.app, name="app")
app.add_typer(containers.app, name="container")
app.add_typer(secrets.app, name="secret")
app.add_typer(proxy_tokens.app, name="proxy-token")
app.add_typer(tokens.app, name="token")
app.add_typer(config.app, name="config")


def print_version(wanted: bool) -> None:
    """Print Portico's version and end, where it is `wanted`."""
    if wanted:
        typer.echo(f"portico {portico.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Portico's own stack traces (PORTICO_DEBUG=1).")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Python functions with URLs, on machines you own."""
    if debug:
        os.environ["PORTICO_DEBUG"] = "1"


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage."""
    try:
        app()
    except SystemExit as ended:
        sys.exit(FAILED if ended.code == INTERRUPTED else ended.code)
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not fail again flushing the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        sys.exit(report(error))
