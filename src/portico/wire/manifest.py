"""What the SDK declares and the server runs: an app's functions, images and source."""

from __future__ import annotations

from typing import Annotated, Literal, Union

import msgspec

from portico.wire.image import FileEntry, ImageSpec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
WebKind = Literal["fastapi_endpoint", "asgi_app", "wsgi_app", "web_server"]
ParameterType = Literal["str", "int", "bool", "bytes"]
ParameterValue = Union[str, int, bool]
"""A parameter's value between processes: `bytes` travel as base64 text, since JSON has no bytes."""
SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
"""Bounds of a parameter that is an int."""


class NamedSecret(msgspec.Struct, frozen=True, tag="named", kw_only=True):
    """A secret the server stores under `name`; each of `required_keys` must be in it."""

    name: str
    required_keys: tuple[str, ...] = ()


class InlineSecret(msgspec.Struct, frozen=True, tag="inline", kw_only=True):
    """Values that travel with the app (``Secret.from_dict`` and its kin); encrypted at rest."""

    values: dict[str, str]


SecretRef = Union[NamedSecret, InlineSecret]


class WebSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a method is reached over HTTP. `port` and `startup_timeout` (seconds) belong to ``web_server``."""

    kind: WebKind
    method: str = "GET"
    docs: bool = False
    port: Port | None = None
    startup_timeout: Seconds = 5.0
    label: str | None = None
    custom_domains: tuple[str, ...] = ()
    requires_proxy_auth: bool = False


class MethodSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One callable of a function or class: a web function where `web` is set, else called by clients.

    A plain function has exactly one, with an empty `name`; a class has one per method.
    """

    name: str = ""
    web: WebSpec | None = None
    is_generator: bool = False


class ParameterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A ``parameter`` of a class; without a default it is required."""

    name: str
    type: ParameterType
    required: bool = True
    default: Union[ParameterValue, None] = None


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """Retry policy of calls; delays in seconds."""

    max_retries: Count
    backoff_coefficient: Seconds = 2.0
    initial_delay: Seconds = 1.0
    max_delay: Seconds = 60.0


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and pace of a pool. `scaledown_window` in seconds; `max_containers` None means no bound."""

    min_containers: Count = 0
    max_containers: Count | None = None
    buffer_containers: Count = 0
    scaledown_window: Seconds = 60.0
    max_inputs: Count = 1
    target_inputs: Count | None = None


class FunctionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The unit of scaling: a function, or a class whose methods share containers.

    `module` and `qualname` say where a container finds the object; `serialized` carries it as cloudpickle
    bytes instead. `image` is a key of `AppManifest.images`. `cpu` is in cores, `memory` in MiB, timeouts in seconds.
    """

    name: str
    module: str
    qualname: str
    image: str
    methods: tuple[MethodSpec, ...]
    is_class: bool = False
    serialized: bytes | None = None
    parameters: tuple[ParameterSpec, ...] = ()
    secrets: tuple[SecretRef, ...] = ()
    env: dict[str, str] = {}
    cpu: Positive | None = None
    memory: Count | None = None
    gpu: str | None = None
    scaling: Scaling = Scaling()
    retries: Retries | None = None
    timeout: Seconds = 300.0
    startup_timeout: Seconds = 300.0
    enable_memory_snapshot: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which servers of a container listen."""
        return tuple(m.web.port for m in self.methods if m.web and m.web.port is not None)

    def public_name(self, method: MethodSpec) -> str:
        """``function`` or ``Class.method``: the name listings and URLs are made of."""
        return f"{self.name}.{method.name}" if self.is_class else self.name


class AppManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an app. `files` are the first-party sources, relative to the source root."""

    name: str
    functions: tuple[FunctionSpec, ...] = ()
    images: dict[str, ImageSpec] = {}
    files: tuple[FileEntry, ...] = ()
