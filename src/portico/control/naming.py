"""Hosts and URLs of web functions (SPEC §4), and who holds which host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from portico.control.errors import InvalidRequestError
from portico.wire.manifest import AppManifest, FunctionSpec, MethodSpec, WebSpec
from portico.wire.names import MAIN, host_label, label_problem, slug

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """Where the gateway is reached: what every URL of this server is made of."""

    workspace: str
    domain: str = "localhost"
    scheme: str = "http"
    port: int = 8400

    @property
    def has_own_ports(self) -> bool:
        """Whether web functions get loopback ports, because names below the domain may not resolve."""
        return self.domain == "localhost"

    def host(self, label: str, *, environment: str = MAIN, ephemeral: bool) -> str:
        """The host of a web function with `label`, without a port."""
        name = host_label(self.workspace, label, environment=environment, ephemeral=ephemeral)
        return f"{name}.{self.domain}"

    def urls(self, hosts: Sequence[str], own_port: int | None) -> list[str]:
        """URLs of one web function without a trailing slash: its host, its own port, its custom domains."""
        suffix = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        urls = [f"{self.scheme}://{host}{suffix}" for host in hosts]
        if own_port is not None:
            urls.insert(1, f"http://127.0.0.1:{own_port}")
        return urls


def web_methods(manifest: AppManifest) -> list[tuple[FunctionSpec, MethodSpec, WebSpec]]:
    """Every web function of the app."""
    return [
        (function, method, method.web)
        for function in manifest.functions
        for method in function.methods
        if method.web is not None
    ]


def hosts_of(
    manifest: AppManifest, site: Site, *, environment: str = MAIN, ephemeral: bool
) -> dict[str, tuple[str, ...]]:
    """Hosts by public name of the web function: its own first, then its custom domains.

    Raises `InvalidRequestError` for a label no URL can carry and for two functions at one host.
    """
    hosts: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for function, method, web in web_methods(manifest):
        public = function.public_name(method)
        label = _label(manifest.name, public, web)
        own = site.host(label, environment=environment, ephemeral=ephemeral)
        names = (own, *(domain.lower().rstrip(".") for domain in web.custom_domains))
        for name in names:
            other = owners.setdefault(name, public)
            if other != public:
                raise InvalidRequestError(
                    f"{other} and {public} would both be at {name}: give one of them another label"
                )
        hosts[public] = tuple(dict.fromkeys(names))
    return hosts


def _label(app_name: str, public: str, web: WebSpec) -> str:
    if web.label is None:
        return slug(f"{app_name}-{public}")
    problem = label_problem(web.label)
    if problem is not None:
        raise InvalidRequestError(problem)
    return web.label


class Hosts:
    """Which live app holds which host; an app is known here by its id."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def owners(self, hosts: Iterable[str], but: str) -> dict[str, str]:
        """Of `hosts`, those that an app other than `but` holds, with that app."""
        return {
            host: owner
            for host in hosts
            if (owner := self._owners.get(host)) is not None and owner != but
        }

    def holds(self, host: str, owner: str) -> bool:
        """Whether `owner` holds `host`."""
        return self._owners.get(host) == owner

    def take(self, hosts: Iterable[str], owner: str) -> None:
        """From now on `owner` holds `hosts`, whoever did before."""
        self._owners.update(dict.fromkeys(hosts, owner))

    def release(self, owner: str, keep: Iterable[str] = ()) -> None:
        """`owner` gives up all its hosts but those in `keep`."""
        kept = set(keep)
        self._owners = {h: o for h, o in self._owners.items() if o != owner or h in kept}


def flatten(hosts: Mapping[str, Sequence[str]]) -> list[str]:
    """All hosts of an app."""
    return [host for names in hosts.values() for host in names]


def own_hosts(hosts: Mapping[str, Sequence[str]]) -> list[str]:
    """The hosts of an app that are made of its names, without custom domains."""
    return [names[0] for names in hosts.values()]
