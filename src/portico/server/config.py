"""Settings of a server: command line, then ``PORTICO_…`` variables, then the config file, then defaults."""

from __future__ import annotations

import getpass
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from portico.server.quantities import Bytes, Count, CountOrAuto, Seconds, Size
from portico.wire import local

BURST_SECONDS = (
    5  # without a setting of its own the bucket holds this many seconds of the rate (SPEC §6)
)
FASTEST = (
    1_000_000_000  # requests a second: more than any machine has, and few enough to reckon with
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class HostPort(str):
    """``HOST:PORT``; an IPv6 host stands in brackets, port 0 means any free one."""

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.rpartition(":")[2])


def _host_port(value: Any) -> HostPort:
    text = str(value)
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8400")
    return HostPort(text)


def _domain(value: str) -> str:
    lowered = value.lower().strip(".")
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", lowered):
        raise ValueError(f"{value!r} is not a domain name")
    return lowered


def _networks(value: Any) -> tuple[Network, ...]:
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    return tuple(ipaddress.ip_network(item) for item in items)


def _rate(value: Any) -> float | None:
    if value is None or str(value).lower() == "none":
        return None
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = -1.0
    if isinstance(value, bool) or not 0 < rate <= FASTEST:
        raise ValueError(
            f"{str(value)!r} is not requests a second, more than 0 and at most {FASTEST:,}, or 'none'"
        )
    return rate


def _access_log(value: Any) -> str:
    text = str(value)
    if not text:
        raise ValueError("'' is no file: name one, or write '-' for standard output, or 'off'")
    return text if text in ("off", "-") else str(Path(text).expanduser().absolute())


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return "workspace"


Address = Annotated[HostPort, BeforeValidator(_host_port), Field(validate_default=True)]
File = Annotated[Path, AfterValidator(Path.expanduser)]


class ServerSettings(BaseSettings):
    """Every option of ``portico server run``; see docs/configuration.md."""

    model_config = SettingsConfigDict(
        env_prefix="PORTICO_",
        env_ignore_empty=True,  # as shells and unit files unset a variable
        extra="ignore",
        arbitrary_types_allowed=True,
    )

    web: Address = HostPort("127.0.0.1:8400")
    api: Address = HostPort("127.0.0.1:8401")
    state_dir: Path = Field(default_factory=local.state_dir)
    domain: Annotated[str, AfterValidator(_domain)] = "localhost"
    workspace: str = Field(default_factory=_login_name)
    sandbox: Literal["auto", "process"] = "auto"
    engine: Literal["local"] = "local"
    rate_limit: Annotated[float | None, BeforeValidator(_rate)] = 200.0
    trusted_proxy: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    tls_cert: File | None = None
    tls_key: File | None = None
    access_log: Annotated[str, BeforeValidator(_access_log)] = "off"
    ignore_gpu: bool = False
    # -- limits
    rate_burst: Count | None = None
    max_waiting: Count = 2000
    max_connections: CountOrAuto = "auto"
    max_request_body: Bytes = Size(4 * 1024**3)
    max_replay_body: Bytes = Size(64 * 1024)
    max_request_head: Bytes = Size(64 * 1024)
    max_request_headers: Count = 256
    max_websocket_message: Bytes = Size(2 * 1024**2)
    head_timeout: Seconds = 10.0
    idle_timeout: Seconds = 75.0

    @model_validator(mode="after")
    def _derive_burst(self) -> Self:
        if self.rate_burst is None and self.rate_limit is not None:
            self.rate_burst = max(1, round(BURST_SECONDS * self.rate_limit))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The config file's ``[server]`` table comes last."""
        table = TomlConfigSettingsSource(settings_cls, local.config_path())
        server = table.toml_data.get("server", {})
        return init_settings, env_settings, _Table(settings_cls, server)


class _Table(PydanticBaseSettingsSource):
    """Settings from an already parsed table."""

    def __init__(self, settings_cls: type[BaseSettings], table: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._table = table

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._table.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {k.replace("-", "_"): v for k, v in self._table.items()}
