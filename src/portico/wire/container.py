"""What a container is told when it starts, and what passes over its control socket.

The control socket is a stream of frames (`portico.wire.frames`): `ToContainer` one way, `FromContainer` the
other. User traffic never reaches it.
"""

from __future__ import annotations

from typing import Literal, Union

import msgspec

from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec, ParameterValue
from portico.wire.names import MAIN

INPUT_HEADER = b"x-portico-input"
"""First header of every request the gateway sends to a container that reports the end of inputs: the input's
number in decimal. The runner takes it out before the user's app sees the request. Right behind it come
``x-forwarded-for``, with the client's address alone, ``x-forwarded-proto`` and ``x-forwarded-host``."""

ENDED_HEADER = b"x-portico-ended"
"""Header of a response whose handler had ended when the head left, with the input's number: the slot is free with
the response, and no `Ended` frame follows. The gateway takes it out before the client sees the response."""

StartPhase = Literal["boot", "import", "enter", "app", "lifespan", "port"]


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a sandbox and a runner need for one container.

    `source_root` is the folder with the app's assembled files (shared by the containers of one version, so
    read-only by convention) and `source_files` its top-level inventory. `env` is complete: image, secrets
    and function variables merged, later ones winning. `parameters` are the values of a parametrized class.
    `environment` is what the image was built to; `environment_name` is the app's.
    """

    container_id: str
    app_id: str
    app_name: str
    function_id: str
    function: FunctionSpec
    environment: ImageEnvironment
    source_root: str
    env: dict[str, str] = {}
    workdir: str | None = None
    parameters: dict[str, ParameterValue] = {}
    ephemeral: bool = False
    environment_name: str = MAIN


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where one web method of a container listens: `path` of a unix socket, or `host` and `port`.

    `reports_end` says that the container announces the end of every input (`Ended`), so that a slot is free
    only when the handler has really finished; otherwise the end of the exchange is the end of the input.
    """

    path: str | None = None
    host: str | None = None
    port: int | None = None
    reports_end: bool = True


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """The network of a container in which a server listens on a port.

    `helper` is the command line that makes a network namespace with a way out and runs the command behind it in
    there; at the address `resolver` in there the machine's own resolver answers. It is empty where containers have
    to share the machine's network, and `shared_because` says why.
    """

    helper: tuple[str, ...] = ()
    resolver: str = ""
    shared_because: str = ""


# ---- to the container


class Start(msgspec.Struct, frozen=True, tag="start", kw_only=True):
    """First frame: become this container. `folder` is the container's own, `sockets` where to listen.

    `variables` is the whole environment of the process. `asked_at` is the monotonic clock, in seconds, when
    the container was asked for: the phase ``boot`` counts from there. `network` is None where no server of the
    function listens on a port.
    """

    spec: ContainerSpec
    folder: str
    sockets: str = ""
    variables: dict[str, str] = {}
    asked_at: float | None = None
    network: Network | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel", kw_only=True):
    """The clients of these inputs are gone: cancel them. Answered by `Ended`, at once for unknown ones."""

    inputs: tuple[int, ...]


class Probe(msgspec.Struct, frozen=True, tag="probe", kw_only=True):
    """Are these inputs still running? `Ended` at once for those the container does not know; nothing is cancelled."""

    inputs: tuple[int, ...]


class Call(msgspec.Struct, frozen=True, tag="call", kw_only=True):
    """Run a function call. `payload` is cloudpickle of ``(args, kwargs)``."""

    input: int
    call_id: str
    method: str
    payload: bytes


ToContainer = Union[Start, Cancel, Probe, Call]


# ---- from the container


class Ready(msgspec.Struct, frozen=True, tag="ready", kw_only=True):
    """The container takes inputs. `addresses` by method name; `timings` in milliseconds by phase."""

    addresses: dict[str, Address]
    timings: dict[str, float] = {}


class Failed(msgspec.Struct, frozen=True, tag="failed", kw_only=True):
    """The container could not start; it exits after this. `traceback` is the user's, trimmed."""

    phase: StartPhase
    message: str
    traceback: str = ""


class Ended(msgspec.Struct, frozen=True, tag="ended", kw_only=True):
    """The handlers of these inputs have really finished: their slots are free."""

    inputs: tuple[int, ...]


class CallResult(msgspec.Struct, frozen=True, tag="result", kw_only=True):
    """Outcome of a `Call`. `payload` is cloudpickle of the value or of the exception.

    `error` is a readable text (type, message, remote traceback) where the call raised, and stands alone
    where the exception could not be pickled.
    """

    input: int
    call_id: str
    ok: bool
    payload: bytes = b""
    error: str = ""


FromContainer = Union[Ready, Failed, Ended, CallResult]


class ContainerExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a container ended. `status` is the exit code, negative for a signal, None if it never ran."""

    status: int | None
    failure: Failed | None = None

    @property
    def reason(self) -> str:
        """One sentence for logs and answers."""
        if self.failure is not None:
            return f"failed in {self.failure.phase}: {self.failure.message}"
        if self.status is None:
            return "could not be started"
        if self.status < 0:
            return f"killed by signal {-self.status}"
        return f"exited with status {self.status}"


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of output. `time` is seconds since the epoch; `stream` says whose words these are."""

    time: float
    app_id: str
    container_id: str
    function: str
    stream: Literal["stdout", "stderr", "system"]
    text: str
