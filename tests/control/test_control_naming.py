from __future__ import annotations

import pytest
from control_server import manifest, web

from portico.control.errors import InvalidRequestError
from portico.control.naming import Hosts, Site, hosts_of
from portico.wire.manifest import FunctionSpec, MethodSpec, WebSpec

SITE = Site("Ada.L")


def test_hosts_come_from_workspace_app_and_function() -> None:
    cls = FunctionSpec(
        name="My_Model",
        module="m",
        qualname="My_Model",
        image="base",
        is_class=True,
        methods=(MethodSpec(name="run", web=WebSpec(kind="asgi_app")), MethodSpec(name="call")),
    )
    hosts = hosts_of(manifest(web("Hello"), cls, name="Shop.1"), SITE, ephemeral=False)
    assert hosts == {
        "Hello": ("ada-l--shop-1-hello.localhost",),
        "My_Model.run": ("ada-l--shop-1-my-model-run.localhost",),
    }


def test_long_hosts_are_cut_and_stay_apart() -> None:
    names = ("f" * 80 + "a", "f" * 80 + "b")
    for ephemeral in (False, True):
        hosts = hosts_of(manifest(*map(web, names)), SITE, ephemeral=ephemeral)
        labels = {host.removesuffix(".localhost") for (host,) in hosts.values()}
        assert len(labels) == 2
        assert {len(label) for label in labels} == {63}
        assert all(label.endswith("-dev") == ephemeral for label in labels)


@pytest.mark.parametrize("label", ["-a", "a-", "123", "A", "a.b", "", "a" * 64])
def test_labels_no_url_can_carry_are_refused(label: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be part of a URL"):
        hosts_of(manifest(web(label=label)), SITE, ephemeral=False)


def test_urls_leave_the_usual_port_out() -> None:
    assert Site("a", "b.c", "https", 443).urls(["h"], None) == ["https://h"]
    assert Site("a", "b.c", "https", 8443).urls(["h", "d"], None) == [
        "https://h:8443",
        "https://d:8443",
    ]
    assert Site("a", port=80).urls(["h"], 7) == ["http://h", "http://127.0.0.1:7"]


def test_hosts_are_held_until_released() -> None:
    hosts = Hosts()
    hosts.take(["x", "y"], "ap-1")
    assert hosts.owners(["x", "z"], but="ap-2") == {"x": "ap-1"}
    assert hosts.owners(["x"], but="ap-1") == {}
    hosts.release("ap-1", keep=["y"])
    assert hosts.owners(["x", "y"], but="ap-2") == {"y": "ap-1"}
