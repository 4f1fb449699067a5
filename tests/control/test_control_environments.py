from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from control_server import Server, decode, events, manifest, running, web

from portico.wire.api import (
    AppInfo,
    ContainerInfo,
    CreateApp,
    Deployed,
    FunctionHandle,
    VersionInfo,
)


def create(server: Server, environment: str, *, ephemeral: bool = False) -> AppInfo:
    wanted = CreateApp(name="shop", environment=environment, ephemeral=ephemeral)
    return decode(server.http.post("/v1/apps", content=msgspec.json.encode(wanted)), AppInfo)


def ship(server: Server, environment: str, spec: object = None) -> Deployed:
    app = create(server, environment)
    done = server.deploy(app.app_id, spec or manifest())[-1]
    assert isinstance(done, Deployed), done
    return done


def test_apps_of_one_name_in_two_environments_are_two_apps(server: Server) -> None:
    main, dev = ship(server, "main"), ship(server, "dev")
    assert main.app_id != dev.app_id
    assert main.functions[0].id != dev.functions[0].id
    assert main.functions[0].urls[0] == "http://ada--shop-hello.localhost:8400"
    assert dev.functions[0].urls[0] == "http://ada-dev--shop-hello.localhost:8400"
    assert main.functions[0].urls[1] != dev.functions[0].urls[1]
    assert {v.environment_name for v in server.runtime.active.values()} == {"main", "dev"}
    assert ship(server, "dev").app_id == dev.app_id
    assert server.app("shop").version == 1


def test_what_is_named_is_looked_for_in_its_environment(server: Server) -> None:
    ship(server, "main")
    dev = ship(server, "dev")
    ship(server, "dev", manifest(web(docs=True)))
    scope = {"environment": "dev"}

    def get(path: str, kind: object, **params: str) -> object:
        return decode(server.http.get(path, params={**scope, **params}), kind)

    assert get("/v1/apps/shop", AppInfo).app_id == dev.app_id
    history = get("/v1/apps/shop/history", list[VersionInfo])
    assert [version.version for version in history] == [2, 1]
    assert get("/v1/functions/shop/hello", FunctionHandle).app_id == dev.app_id
    (container,) = get("/v1/containers", list[ContainerInfo], app="shop")
    assert container.app_id == dev.app_id
    server.log(dev.app_id, "from dev")
    assert "from dev" in server.http.get("/v1/apps/shop/logs", params=scope).text
    assert "from dev" not in server.http.get("/v1/apps/shop/logs").text
    done = events(server.http.post("/v1/apps/shop/rollback", params=scope))[-1]
    assert (done.app_id, done.version) == (dev.app_id, 3)
    server.http.post("/v1/apps/shop/stop", params=scope)
    assert server.app("shop").state == "deployed"
    assert server.app(dev.app_id).state == "stopped"  # an id needs no environment
    missing = server.http.get("/v1/apps/shop", params={"environment": "eu"})
    assert missing.status_code == 404
    assert "no app 'shop' in environment 'eu'" in missing.json()["detail"]


def test_listings_are_of_all_environments_or_of_one(server: Server) -> None:
    ship(server, "main")
    ship(server, "dev")
    create(server, "dev", ephemeral=True)

    def environments(path: str, **params: str) -> list[str]:
        return sorted(one["environment"] for one in server.http.get(path, params=params).json())

    assert environments("/v1/apps") == ["dev", "dev", "main"]
    assert environments("/v1/apps", environment="dev") == ["dev", "dev"]
    assert environments("/v1/apps", environment="eu") == []
    assert environments("/v1/containers") == ["dev", "main"]
    assert environments("/v1/containers", environment="dev") == ["dev"]


def test_runs_of_one_name_in_two_environments_leave_each_other_alone(server: Server) -> None:
    runs = [create(server, environment, ephemeral=True) for environment in ("main", "dev")]
    hosts = []
    for run in runs:
        done = server.deploy(run.app_id, manifest())[-1]
        hosts.append(done.functions[0].urls[0].removeprefix("http://").partition(".")[0])
    assert hosts == ["ada--shop-hello-dev", "ada-dev--shop-hello-dev"]
    assert set(server.runtime.active) == {run.app_id for run in runs}
    assert server.app("shop").app_id == runs[0].app_id


def test_environments_share_custom_domains_and_the_refusal_says_whose_it_is(
    server: Server,
) -> None:
    spec = manifest(web(custom_domains=("api.example.com",)))
    ship(server, "dev", spec)
    failed = server.deploy(create(server, "main").app_id, spec)[-1]
    assert "served by app shop of environment dev" in failed.message
    assert "`portico app stop shop --env dev`" in failed.message


def test_apps_come_back_in_their_environments(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        main, dev = ship(server, "main"), ship(server, "dev")
    with running(tmp_path) as server:
        assert server.app(main.app_id).functions == main.functions
        assert server.app(dev.app_id).functions == dev.functions
        assert server.app(dev.app_id).environment == "dev"
        assert server.runtime.active[dev.app_id].environment_name == "dev"
    with running(tmp_path, embedded=True) as server:
        assert server.app(dev.app_id).functions == dev.functions


@pytest.mark.parametrize("name", ["", "-a", "a-", "Dev", "a.b", "x" * 33])
@pytest.mark.parametrize("ephemeral", [True, False])
def test_environments_no_url_can_carry_are_refused(
    server: Server, name: str, ephemeral: bool
) -> None:
    wanted = CreateApp(name="shop", environment=name, ephemeral=ephemeral)
    refused = server.http.post("/v1/apps", content=msgspec.json.encode(wanted))
    assert refused.status_code == 400
    assert "cannot be part of a URL" in refused.json()["detail"]
