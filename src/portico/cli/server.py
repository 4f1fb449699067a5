"""`portico server`: the server of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portico.cli.grouped_help import HTTPS, GroupedHelp
from portico.cli.limit_options import (
    HeadTimeout,
    IdleTimeout,
    MaxConnections,
    MaxReplayBody,
    MaxRequestBody,
    MaxRequestHead,
    MaxRequestHeaders,
    MaxWaiting,
    MaxWebsocketMessage,
    RateBurst,
    RateLimit,
)

if TYPE_CHECKING:
    from portico.server.config import ServerSettings

app = typer.Typer(help="The Portico server of this machine.", no_args_is_help=True)

Web = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where web functions answer.")]
Api = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where the control API answers.")
]
StateDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Where everything is kept.")]
Domain = Annotated[
    str | None, typer.Option(metavar="DOMAIN", help="The domain below which functions have hosts.")
]
Workspace = Annotated[str | None, typer.Option(metavar="NAME", help="First part of every host.")]
Sandbox = Annotated[
    str | None, typer.Option(metavar="auto|process", help="How containers are run.")
]
Engine = Annotated[str | None, typer.Option(metavar="local", help="Where containers are run.")]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(rich_help_panel=HTTPS, metavar="CIDR", help="Whose X-Forwarded-* headers count."),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(rich_help_panel=HTTPS, metavar="FILE", help="Certificate and chain, PEM."),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(rich_help_panel=HTTPS, metavar="FILE", help="The certificate's private key, PEM."),
]
AccessLog = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-|off",
        help="A line of JSON for each request; - is stdout.",
        parser=lambda text: absolute_log(text),
    ),
]
IgnoreGpu = Annotated[
    bool | None,
    typer.Option("--ignore-gpu", help="Run on the CPU what needs a GPU that is not here."),
]


@app.command(cls=GroupedHelp)
def run(
    web: Web = None,
    api: Api = None,
    state_dir: StateDir = None,
    domain: Domain = None,
    workspace: Workspace = None,
    sandbox: Sandbox = None,
    engine: Engine = None,
    rate_limit: RateLimit = None,
    trusted_proxy: TrustedProxy = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    access_log: AccessLog = None,
    ignore_gpu: IgnoreGpu = None,
    rate_burst: RateBurst = None,
    max_waiting: MaxWaiting = None,
    max_connections: MaxConnections = None,
    max_request_body: MaxRequestBody = None,
    max_replay_body: MaxReplayBody = None,
    max_request_head: MaxRequestHead = None,
    max_request_headers: MaxRequestHeaders = None,
    max_websocket_message: MaxWebsocketMessage = None,
    head_timeout: HeadTimeout = None,
    idle_timeout: IdleTimeout = None,
) -> None:
    """Run the server here, until a signal ends it.

    Every option is also read from PORTICO_… in the environment and from the config file;
    `portico config show` tells what is in effect.
    """
    from portico.server.main import run as run_server

    raise typer.Exit(run_server(settings_to_run(given_options(locals()))))


@app.command(cls=GroupedHelp)
def start(
    web: Web = None,
    api: Api = None,
    state_dir: StateDir = None,
    domain: Domain = None,
    workspace: Workspace = None,
    sandbox: Sandbox = None,
    engine: Engine = None,
    rate_limit: RateLimit = None,
    trusted_proxy: TrustedProxy = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    access_log: AccessLog = None,
    ignore_gpu: IgnoreGpu = None,
    rate_burst: RateBurst = None,
    max_waiting: MaxWaiting = None,
    max_connections: MaxConnections = None,
    max_request_body: MaxRequestBody = None,
    max_replay_body: MaxReplayBody = None,
    max_request_head: MaxRequestHead = None,
    max_request_headers: MaxRequestHeaders = None,
    max_websocket_message: MaxWebsocketMessage = None,
    head_timeout: HeadTimeout = None,
    idle_timeout: IdleTimeout = None,
) -> None:
    """Start the server in the background and wait until it is ready."""
    given = given_options(locals())
    settings_to_run(given)  # a mistake in them is said here, not in the log

    from portico.cli.background import start_server
    from portico.cli.output import console
    from portico.cli.progress import Progress
    from portico.client import Client
    from portico.client.discovery import running_local

    folder = use_state_dir(given.pop("state_dir", None))
    record = running_local(folder)
    found = record is not None
    if record is None:
        with Progress(console(stderr=True), "Starting the server"):
            record = start_server(command_line(given))
    with Client(record.url, record.token) as client:
        info = client.server()
    console().print(
        f"{'Already running' if found else 'Running'} (process {info.pid})\n"
        f"web functions  {info.web_url}\ncontrol API    {info.api_url}\nstate folder   {info.state_dir}"
    )


@app.command()
def stop(state_dir: StateDir = None) -> None:
    """Stop the server of this machine and wait until it has ended."""
    from portico.cli.background import stop_server
    from portico.cli.output import console
    from portico.cli.progress import Progress

    use_state_dir(state_dir)
    with Progress(console(stderr=True), "Stopping the server"):
        pid = stop_server()
    console().print("No server runs here." if pid is None else f"Stopped (process {pid}).")


@app.command()
def status(
    state_dir: StateDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the server that commands use; exit code 1 where there is none."""
    from portico.cli.connection import connect_for_looking
    from portico.cli.output import age, console, print_json

    use_state_dir(state_dir)
    with connect_for_looking() as client:
        info = client.server()
    if json:
        print_json(info)
        return
    lines = {
        "version": info.version,
        "process": f"{info.pid}{' (embedded)' if info.embedded else ''}, started {age(info.started_at)}",
        "web functions": info.web_url,
        "control API": info.api_url,
        "domain": info.domain,
        "workspace": info.workspace,
        "sandbox": info.sandbox,
        "state folder": info.state_dir,
        "apps": str(info.apps),
        "containers": str(info.containers),
    }
    for name, value in lines.items():
        console().print(f"{name:<14} {value}")


def given_options(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, with files made absolute: the server may run in another folder."""
    return {
        name: str(value.expanduser().absolute()) if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None and value != []
    }


def absolute_log(text: str) -> str:
    """An access log's file as the server finds it, which may run in another folder."""
    return text if text in ("-", "off") else str(Path(text).expanduser().absolute())


def settings_from(given: dict[str, Any]) -> ServerSettings:
    """The server's settings; what is not `given` comes from environment, config file and defaults."""
    from pydantic import ValidationError

    from portico.client.discovery import read_config
    from portico.server.config import ServerSettings
    from portico.wire.local import config_path

    read_config(config_path())  # a file that is not TOML is told apart from a wrong value
    try:
        return ServerSettings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        )
        raise typer.BadParameter(f"{problems} (options, PORTICO_… or the config file)") from None


def settings_to_run(given: dict[str, Any]) -> ServerSettings:
    """`settings_from`, with a certificate that cannot be used refused too."""
    from portico.server.certificates import CertificateError, certificate_of

    settings = settings_from(given)
    try:
        certificate_of(settings.tls_cert, settings.tls_key)
    except CertificateError as error:
        raise typer.BadParameter(str(error)) from None
    return settings


def command_line(given: dict[str, Any]) -> list[str]:
    """`given` as options of ``portico server run``."""
    line: list[str] = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            line.append(option)
            continue
        for one in value if isinstance(value, list) else [value]:
            line += [option, str(one)]
    return line


def use_state_dir(folder: Path | str | None) -> Path:
    """Have this process, and those it starts, use `folder` as the state folder; returns the one in use."""
    import os

    from portico.client.discovery import state_dir

    if folder is not None:
        os.environ["PORTICO_STATE_DIR"] = str(Path(folder).expanduser().absolute())
    return state_dir()
