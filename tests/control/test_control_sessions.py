from __future__ import annotations

import threading
from pathlib import Path

import msgspec
from control_server import Server, decode, eventually, manifest, running, web

from portico.control.sessions import SESSION_GRACE
from portico.wire.api import (
    AppInfo,
    Deployed,
    DeployFailed,
    SessionClosed,
    SessionLog,
    SessionOpened,
    Warned,
)


def test_an_ephemeral_app_lives_as_long_as_its_session(server: Server) -> None:
    app = server.create("shop", ephemeral=True)
    assert app.state == "ephemeral"
    with server.session(app.app_id) as session:
        assert next(session) == SessionOpened(app_id=app.app_id)
        done = server.deploy(app.app_id, manifest())[-1]
        assert done.functions[0].urls[0] == "http://ada--shop-hello-dev.localhost:8400"
        server.log(app.app_id, "hi")
        event = next(session)
        assert isinstance(event, SessionLog)
        assert event.line.text == "hi"
    eventually(lambda: app.app_id in server.runtime.deactivated)
    assert server.runtime.active == {}
    assert server.runtime.bound == {}
    eventually(lambda: server.app(app.app_id).state == "stopped")
    assert decode(server.http.get("/v1/apps"), list[AppInfo]) == []
    assert isinstance(server.deploy(app.app_id, manifest())[-1], DeployFailed)
    assert server.http.get(f"/v1/apps/{app.app_id}/session").status_code == 404


def test_live_versions_keep_id_and_urls(server: Server) -> None:
    app = server.create("shop", ephemeral=True)
    with server.session(app.app_id) as session:
        next(session)
        first = server.deploy(app.app_id, manifest())[-1]
        second = server.deploy(app.app_id, manifest(web(docs=True)))[-1]
        assert (second.version, second.functions) == (2, first.functions)


def test_an_app_without_a_session_is_dropped(server: Server) -> None:
    app = server.create("shop", ephemeral=True)
    server.deploy(app.app_id, manifest())
    ((delay, expired),) = server.timers.waiting
    assert delay == SESSION_GRACE == 30.0
    server.on_loop(expired)
    eventually(lambda: server.app(app.app_id).state == "stopped")
    assert server.runtime.active == {}


def test_a_session_stops_the_drop(server: Server) -> None:
    app = server.create("shop", ephemeral=True)
    with server.session(app.app_id) as session:
        next(session)
        assert server.timers.waiting == []


def test_stopping_from_elsewhere_closes_the_session_with_the_reason(server: Server) -> None:
    app = server.create("shop", ephemeral=True)
    with server.session(app.app_id) as session:
        next(session)
        server.deploy(app.app_id, manifest())
        server.http.post("/v1/apps/shop/stop")
        assert list(session) == [SessionClosed(reason="the app was stopped")]


def test_a_newer_run_takes_the_label_over(server: Server) -> None:
    old = server.create("shop", ephemeral=True)
    new = server.create("shop", ephemeral=True)
    with server.session(old.app_id) as old_session, server.session(new.app_id) as new_session:
        next(old_session)
        next(new_session)
        first = server.deploy(old.app_id, manifest())[-1]
        second = server.deploy(new.app_id, manifest())[-1]
        assert second.functions[0].urls == first.functions[0].urls
        (closed,) = old_session
        assert isinstance(closed, SessionClosed)
        assert "newer run of shop" in closed.reason
        assert list(server.runtime.active) == [new.app_id]


def test_a_newer_run_that_cannot_be_built_takes_nothing(server: Server) -> None:
    old = server.create("shop", ephemeral=True)
    new = server.create("shop", ephemeral=True)
    with server.session(old.app_id) as session:
        next(session)
        server.deploy(old.app_id, manifest())
        assert isinstance(server.deploy(new.app_id, manifest(images={}))[-1], DeployFailed)
        assert list(server.runtime.active) == [old.app_id]


def test_runs_that_swap_their_labels_do_not_wait_for_each_other(server: Server) -> None:
    one, two = (server.create("shop", ephemeral=True) for _ in range(2))
    with server.session(one.app_id) as first, server.session(two.app_id) as second:
        next(first)
        next(second)
        server.deploy(one.app_id, manifest(web("a")))
        server.deploy(two.app_id, manifest(web("b")))
        ends: list[object] = []
        both = [
            threading.Thread(target=lambda a=app: ends.append(server.deploy(a, both_names)[-1]))
            for app in (one.app_id, two.app_id)
        ]
        both_names = manifest(web("a"), web("b"))
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(10)
        assert any(isinstance(end, Deployed) for end in ends)
        assert len(server.runtime.active) == 1


def test_an_ephemeral_run_leaves_custom_domains_to_the_deployed_app(server: Server) -> None:
    spec = manifest(web(custom_domains=("api.example.com",)))
    server.ship(spec)
    app = server.create("shop", ephemeral=True)
    told = server.deploy(app.app_id, spec)
    assert any(isinstance(event, Warned) and "api.example.com" in event.message for event in told)
    hosts = server.runtime.active[app.app_id].hosts["hello"]
    assert list(hosts) == ["ada--shop-hello-dev.localhost"]


def test_a_newer_run_takes_custom_domains_over_with_the_label(server: Server) -> None:
    spec = manifest(web(custom_domains=("api.example.com",)))
    old, new = (server.create("shop", ephemeral=True) for _ in range(2))
    first = server.deploy(old.app_id, spec)[-1]
    second = server.deploy(new.app_id, spec)[-1]
    assert second.functions[0].urls == first.functions[0].urls
    assert second.functions[0].urls[2] == "http://api.example.com:8400"
    assert server.app(old.app_id).state == "stopped"


def test_a_run_leaves_custom_domains_to_another_apps_run(server: Server) -> None:
    old, new = (server.create(name, ephemeral=True) for name in ("shop", "other"))
    server.deploy(old.app_id, manifest(web(custom_domains=("api.example.com",))))
    told = server.deploy(
        new.app_id, manifest(web(custom_domains=("api.example.com",)), name="other")
    )
    assert any(isinstance(e, Warned) and "stays with app shop" in e.message for e in told)
    assert set(server.runtime.active) == {old.app_id, new.app_id}


def test_a_deployed_app_takes_a_domain_from_a_run_that_goes_on_without_it(server: Server) -> None:
    spec = manifest(web(custom_domains=("api.example.com",)))
    run = server.create("shop", ephemeral=True)
    with server.session(run.app_id) as session:
        next(session)
        server.deploy(run.app_id, spec)
        version = server.runtime.active[run.app_id]
        assert version.holds("api.example.com")
        done = server.ship(spec)
        assert done.functions[0].urls[2] == "http://api.example.com:8400"
        assert set(server.runtime.active) == {run.app_id, done.app_id}
        assert not version.holds("api.example.com")
        assert version.holds("ada--shop-hello-dev.localhost")
        assert len(server.app(run.app_id).functions[0].urls) == 2
        again = server.deploy(run.app_id, spec)[-1]
        assert len(again.functions[0].urls) == 2


def test_a_domain_goes_back_to_its_run_where_the_deploy_fails(server: Server) -> None:
    domain = "api.example.com"
    run = server.create("shop", ephemeral=True)
    server.deploy(run.app_id, manifest(web(custom_domains=(domain,))))
    failed = server.ship(manifest(web(custom_domains=(domain,)), web("broken")))
    assert isinstance(failed, DeployFailed)
    assert server.runtime.active[run.app_id].holds(domain)
    assert server.app(run.app_id).functions[0].urls[2] == f"http://{domain}:8400"


def test_a_run_has_the_same_port_again(server: Server) -> None:
    urls = []
    for _ in range(2):
        app = server.create("shop", ephemeral=True)
        urls.append(server.deploy(app.app_id, manifest())[-1].functions[0].urls)
        server.http.post(f"/v1/apps/{app.app_id}/stop")
    assert urls[0] == urls[1]


def test_ephemeral_apps_do_not_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        app = server.create("shop", ephemeral=True)
        server.deploy(app.app_id, manifest())
    with running(tmp_path) as server:
        assert server.runtime.active == {}
        assert decode(server.http.get("/v1/apps?all=1"), list[AppInfo]) == []


def test_a_closing_server_tells_its_sessions(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        app = server.create("shop", ephemeral=True)
        with server.session(app.app_id) as session:
            next(session)
            server.loop.call_soon_threadsafe(server._stop.set)
            assert list(session) == [SessionClosed(reason="the server is stopping")]


def test_a_deployed_app_has_no_session(server: Server) -> None:
    server.ship(manifest())
    response = server.http.get("/v1/apps/shop/session")
    assert response.status_code == 409
    assert "deployed" in msgspec.json.decode(response.content)["detail"]


def test_a_name_means_the_deployed_app_before_a_run(server: Server) -> None:
    run = server.create("shop", ephemeral=True)
    assert server.app("shop").app_id == run.app_id
    done = server.ship(manifest())
    assert server.app("shop").app_id == done.app_id
