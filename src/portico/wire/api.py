"""Records of the control API: what the client sends and what the server answers, as JSON.

Streams (deploys, logs, sessions) are newline-delimited JSON, one tagged record a line. Times are seconds
since the epoch.
"""

from __future__ import annotations

from typing import Literal, Union

import msgspec

from portico.wire.container import LogLine
from portico.wire.manifest import FunctionSpec, ParameterValue
from portico.wire.names import MAIN

AppState = Literal["ephemeral", "deployed", "stopped"]
ContainerState = Literal["starting", "ready", "draining", "stopping"]


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details; the body of every error answer."""

    title: str
    status: int
    detail: str = ""
    type: str = "about:blank"
    request_id: str | None = None


class ServerInfo(msgspec.Struct, kw_only=True):
    """The server a client talks to. URLs are ``http://host:port`` without a trailing slash."""

    version: str
    web_url: str
    api_url: str
    domain: str
    workspace: str
    sandbox: str
    pid: int
    embedded: bool
    state_dir: str
    started_at: float
    apps: int = 0
    containers: int = 0


class MissingBlobs(msgspec.Struct, kw_only=True):
    """Of these SHA-256 digests, the ones the server does not have (same shape both ways)."""

    digests: list[str]


class CreateApp(msgspec.Struct, kw_only=True):
    """Make or find an app. An ephemeral one is always new, and lives while a session to it is open."""

    name: str
    ephemeral: bool = False
    environment: str = MAIN


class FunctionInfo(msgspec.Struct, kw_only=True):
    """One public function of an app. `kind` is ``function`` or a web kind; the first URL is the one to use."""

    name: str
    id: str
    kind: str
    urls: list[str] = []


class AppInfo(msgspec.Struct, kw_only=True):
    """An app as listings show it."""

    app_id: str
    name: str
    state: AppState
    version: int
    created_at: float
    functions: list[FunctionInfo] = []
    containers: int = 0
    stopped_at: float | None = None
    error: str | None = None
    environment: str = MAIN


class VersionInfo(msgspec.Struct, kw_only=True):
    """One deployed version. `rolled_back_from` is set where the version re-instates an older one."""

    version: int
    created_at: float
    current: bool
    functions: int
    rolled_back_from: int | None = None


class ContainerInfo(msgspec.Struct, kw_only=True):
    """A live container. `running` is its number of inputs, `parameters` are the values of a parametrized class."""

    container_id: str
    app_id: str
    app: str
    function: str
    state: ContainerState
    started_at: float
    running: int
    pid: int | None = None
    parameters: dict[str, ParameterValue] = {}
    environment: str = MAIN


# ---- a deploy, as it happens


class BuildStarted(msgspec.Struct, tag="build_started", kw_only=True):
    """An image is being built (not sent for cached ones)."""

    image_id: str


class BuildLog(msgspec.Struct, tag="build_log", kw_only=True):
    """One line of a build's output."""

    image_id: str
    text: str


class BuildDone(msgspec.Struct, tag="build_done", kw_only=True):
    """An image is ready; `seconds` is how long it took, 0 when cached."""

    image_id: str
    seconds: float
    cached: bool


class Warned(msgspec.Struct, tag="warning", kw_only=True):
    """Something the user should know; the deploy goes on."""

    message: str


class Deployed(msgspec.Struct, tag="deployed", kw_only=True):
    """The last record of a good deploy: this version serves now."""

    app_id: str
    name: str
    version: int
    functions: list[FunctionInfo]


class DeployFailed(msgspec.Struct, tag="failed", kw_only=True):
    """The last record of a failed deploy: what served before goes on serving."""

    message: str
    detail: str = ""


DeployEvent = Union[BuildStarted, BuildLog, BuildDone, Warned, Deployed, DeployFailed]


# ---- an ephemeral app's session


class SessionOpened(msgspec.Struct, tag="opened", kw_only=True):
    """First record of a session: from here on the app lives as long as this connection."""

    app_id: str


class SessionLog(msgspec.Struct, tag="log", kw_only=True):
    """A line a container of the app printed, or one about a container (stream ``system``)."""

    line: LogLine


class SessionPing(msgspec.Struct, tag="ping", kw_only=True):
    """Sent every few seconds so that both sides notice a dead peer."""


class SessionClosed(msgspec.Struct, tag="closed", kw_only=True):
    """The app was stopped from elsewhere, or a newer run took its labels over."""

    reason: str


SessionEvent = Union[SessionOpened, SessionLog, SessionPing, SessionClosed]


# ---- secrets and tokens


class PutSecret(msgspec.Struct, kw_only=True):
    """Create a secret; an existing one is replaced only with `overwrite`."""

    values: dict[str, str]
    overwrite: bool = False


class SecretInfo(msgspec.Struct, kw_only=True):
    """A secret as listings show it: names of keys, never values."""

    id: str
    name: str
    keys: list[str]
    created_at: float
    updated_at: float


class CreateToken(msgspec.Struct, kw_only=True):
    """Ask for an API token."""

    name: str


class TokenInfo(msgspec.Struct, kw_only=True):
    """An API token; `secret` is given once, in the answer that creates it."""

    id: str
    name: str
    created_at: float
    secret: str | None = None


class CreateProxyToken(msgspec.Struct, kw_only=True):
    """Ask for a proxy token; `name` says what it is for, and may be empty."""

    name: str = ""


class ProxyTokenInfo(msgspec.Struct, kw_only=True):
    """A proxy token, known by its key; `secret` is given once, in the answer that creates it."""

    key: str
    name: str
    created_at: float
    secret: str | None = None


# ---- calls


class FunctionHandle(msgspec.Struct, kw_only=True):
    """What a client needs to call a function: `methods` by name, with the URLs of web functions."""

    app_id: str
    function_id: str
    spec: FunctionSpec
    urls: dict[str, list[str]] = {}


class CallRequest(msgspec.Struct, kw_only=True):
    """A function call. `payload` is cloudpickle of ``(args, kwargs)`` (base64 in JSON)."""

    app_id: str
    function: str
    method: str = ""
    parameters: dict[str, ParameterValue] = {}
    payload: bytes = b""


class CallStarted(msgspec.Struct, kw_only=True):
    """A spawned call's id."""

    call_id: str


class CallOutcome(msgspec.Struct, kw_only=True):
    """Where a call stands. `payload` is cloudpickle of the value or the exception."""

    call_id: str
    state: Literal["pending", "done", "failed"]
    payload: bytes = b""
    error: str = ""
