from __future__ import annotations

import concurrent.futures
import shutil
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from control_server import Server, decode, events, eventually, manifest, plain, running, web

from portico.control.errors import StoreError
from portico.images.base import BuildError, BuildLogSink
from portico.runner.kinds import BUILDERS
from portico.wire.api import (
    AppInfo,
    BuildDone,
    BuildLog,
    BuildStarted,
    Deployed,
    DeployFailed,
    FunctionHandle,
    PutSecret,
    VersionInfo,
    Warned,
)
from portico.wire.image import AddFiles, DebianSlim, Env, FileEntry, ImageEnvironment, ImageSpec
from portico.wire.manifest import (
    AppManifest,
    FunctionSpec,
    InlineSecret,
    MethodSpec,
    NamedSecret,
    ParameterSpec,
    WebKind,
    WebSpec,
)


def test_a_deploy_tells_its_steps_and_gives_the_urls(server: Server) -> None:
    app = server.create("shop")
    told = server.deploy(app.app_id, manifest())
    assert [type(event) for event in told] == [BuildStarted, BuildLog, BuildDone, Deployed]
    done = told[-1]
    assert isinstance(done, Deployed)
    host, own = done.functions[0].urls
    assert host == "http://ada--shop-hello.localhost:8400"
    assert own.startswith("http://127.0.0.1:")
    assert int(own.rpartition(":")[2]) in server.runtime.bound
    assert server.app("shop").state == "deployed"


def test_a_cached_image_is_not_announced_as_a_build(server: Server) -> None:
    server.ship(manifest())
    told = server.deploy(server.app("shop").app_id, manifest())
    assert isinstance(told[0], BuildDone)
    assert told[0].cached


def test_a_redeploy_keeps_ids_urls_and_ports(server: Server) -> None:
    first = server.ship(manifest())
    second = server.ship(manifest(web(), plain()))
    assert second.version == 2
    assert first.functions[0] == second.functions[0]
    assert second.functions[1].urls == []


def test_a_failed_activation_leaves_what_served(server: Server) -> None:
    first = server.ship(manifest())
    failed = server.ship(manifest(web(), web("broken")))
    assert failed == DeployFailed(
        message="the container failed in import", detail="Traceback: boom"
    )
    info = server.app("shop")
    assert (info.version, info.functions) == (1, first.functions)
    history = decode(server.http.get("/v1/apps/shop/history"), list[VersionInfo])
    assert [version.version for version in history] == [1]
    assert server.ship(manifest()).version == 2


def test_a_failed_build_ends_with_its_log(server: Server) -> None:
    bad = ImageSpec(base=DebianSlim(python_version="0.0"))
    failed = server.ship(manifest(images={"base": bad}))
    assert failed == DeployFailed(
        message="no Python 0.0 on this machine", detail="resolving\nnot found"
    )


def test_a_missing_secret_is_refused_with_the_command(server: Server) -> None:
    wanted = plain(secrets=(NamedSecret(name="db", required_keys=("URL", "KEY")),))
    assert "portico secret create db URL=… KEY=…" in server.ship(manifest(wanted)).message
    body = msgspec.json.encode(PutSecret(values={"URL": "x"}))
    assert server.http.put("/v1/secrets/db", content=body).status_code == 200
    assert "has no KEY" in server.ship(manifest(wanted)).message


def test_containers_get_image_secrets_and_function_variables_later_ones_winning(
    server: Server,
) -> None:
    body = msgspec.json.encode(PutSecret(values={"B": "named", "C": "named", "D": "named"}))
    server.http.put("/v1/secrets/s", content=body)
    image = ImageSpec(steps=(Env(variables={"A": "image", "B": "image"}),))
    inline = InlineSecret(values={"C": "inline", "D": "inline"})
    function = plain(secrets=(NamedSecret(name="s"), inline), env={"D": "function"})
    done = server.ship(manifest(function, images={"base": image}))
    version = server.runtime.active[done.app_id]
    expected = {"A": "image", "B": "named", "C": "inline", "D": "function"}
    assert version.variables(function) == expected
    body = msgspec.json.encode(PutSecret(values={"B": "new"}, overwrite=True))
    server.http.put("/v1/secrets/s", content=body)
    assert version.variables(function)["B"] == "new"


def test_sources_and_image_files_are_assembled(server: Server) -> None:
    source = server.put_blob(b"print(1)")
    added = msgspec.structs.replace(server.put_blob(b"data"), path="/root/pkg/data.txt")
    image = ImageSpec(steps=(AddFiles(files=(added,)),))
    done = server.ship(manifest(files=(source,), images={"base": image}))
    root = Path(server.runtime.active[done.app_id].source_root)
    assert (root / "main.py").read_text() == "print(1)"
    assert (root / "pkg/data.txt").read_text() == "data"


def test_a_deploy_without_its_blobs_is_refused(server: Server) -> None:
    entry = FileEntry(path="main.py", sha256="0" * 64, size=3)
    assert (
        "1 files of the app are not on the server" in server.ship(manifest(files=(entry,))).message
    )


def test_files_outside_the_root_are_refused(server: Server) -> None:
    entry = server.put_blob(b"x")
    for path in ("../x", "/etc/passwd", "/root/../x", "a/../../x", "", "/root", "."):
        bad = msgspec.structs.replace(entry, path=path)
        assert isinstance(server.ship(manifest(files=(bad,))), DeployFailed), path


def test_an_unknown_image_and_double_names_are_refused(server: Server) -> None:
    assert "not in the manifest" in server.ship(manifest(images={})).message
    assert "two functions" in server.ship(manifest(web(), web())).message
    bad = ParameterSpec(name="size", type="int", required=False, default="large")
    message = server.ship(manifest(plain("sized", parameters=(bad,)))).message
    assert "a default of 'sized' is of no use: class parameter 'size' must be int" in message


def test_two_functions_at_one_host_are_refused(server: Server) -> None:
    failed = server.ship(manifest(web("a", label="x"), web("b", label="x")))
    assert "a and b would both be at ada--x.localhost" in failed.message


def test_a_label_of_another_deployed_app_is_refused_until_that_stops(server: Server) -> None:
    server.ship(manifest(web(label="api")))
    other = manifest(web(label="api"), name="other")
    failed = server.ship(other)
    assert "ada--api.localhost is served by app shop" in failed.message
    assert "portico app stop shop" in failed.message
    server.http.post("/v1/apps/shop/stop")
    assert isinstance(server.ship(other), Deployed)


def test_a_label_a_redeploy_gave_up_is_free(server: Server) -> None:
    server.ship(manifest(web(label="api")))
    server.ship(manifest(web(label="new")))
    assert isinstance(server.ship(manifest(web(label="api"), name="other")), Deployed)


def test_a_gpu_is_warned_about(server: Server) -> None:
    app = server.create("shop")
    told = server.deploy(app.app_id, manifest(plain(gpu="A100")))
    assert any(isinstance(event, Warned) and "needs a A100" in event.message for event in told)


def test_every_kind_is_served() -> None:
    assert set(get_args(WebKind)) == set(BUILDERS)


def test_a_recipe_that_is_refused_is_not_said_to_be_built(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(spec: ImageSpec, log: BuildLogSink) -> ImageEnvironment:
        raise BuildError("apt_install needs a filesystem of its own")

    monkeypatch.setattr(server.builder, "build", refuse)
    app = server.create("shop")
    told = server.deploy(app.app_id, manifest())
    assert [type(event) for event in told] == [DeployFailed]


def test_custom_domains_come_last_in_urls(server: Server) -> None:
    done = server.ship(manifest(web(custom_domains=("API.example.com",))))
    assert done.functions[0].urls[2] == "http://api.example.com:8400"
    hosts = server.runtime.active[done.app_id].hosts["hello"]
    assert list(hosts) == ["ada--shop-hello.localhost", "api.example.com"]


def test_under_another_domain_there_are_no_ports(tmp_path: Path) -> None:
    with running(tmp_path, domain="example.org", scheme="https", port=443) as server:
        done = server.ship(manifest())
        assert done.functions[0].urls == ["https://ada--shop-hello.example.org"]
        assert server.runtime.bound == {}


def test_deploys_of_one_app_come_one_after_the_other(server: Server) -> None:
    app = server.create("shop")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: server.deploy(app.app_id, manifest())[-1], range(8)))
    assert sorted(end.version for end in ends) == list(range(1, 9))
    assert server.runtime.activated == [(app.app_id, n) for n in range(1, 9)]


def test_rollback_reinstates_an_older_manifest_under_a_new_number(server: Server) -> None:
    server.ship(manifest(web("one")))
    server.ship(manifest(web("two")))
    done = events(server.http.post("/v1/apps/shop/rollback", params={"version": 1}))[-1]
    assert isinstance(done, Deployed)
    assert done.version == 3
    assert [function.name for function in done.functions] == ["one"]
    history = decode(server.http.get("/v1/apps/shop/history"), list[VersionInfo])
    assert [(v.version, v.current, v.rolled_back_from) for v in history] == [
        (3, True, 1),
        (2, False, None),
        (1, False, None),
    ]


def test_rollback_without_a_version_takes_the_one_before(server: Server) -> None:
    server.ship(manifest(web("one")))
    assert server.http.post("/v1/apps/shop/rollback").status_code == 404
    server.ship(manifest(web("two")))
    done = events(server.http.post("/v1/apps/shop/rollback"))[-1]
    assert done.functions[0].name == "one"
    assert server.http.post("/v1/apps/shop/rollback?version=99").status_code == 404


def test_stop_is_idempotent_and_a_later_deploy_has_the_same_id_and_urls(server: Server) -> None:
    first = server.ship(manifest())
    for _ in range(2):
        info = decode(server.http.post("/v1/apps/shop/stop"), AppInfo)
        assert info.state == "stopped"
        assert info.stopped_at is not None
    assert server.runtime.active == {}
    assert decode(server.http.get("/v1/apps"), list[AppInfo]) == []
    assert [a.name for a in decode(server.http.get("/v1/apps?all=1"), list[AppInfo])] == ["shop"]
    second = server.ship(manifest())
    assert second.app_id == first.app_id
    assert second.functions == first.functions


def test_deployed_apps_come_back_at_the_same_urls(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = server.ship(manifest(files=(server.put_blob(b"x"),)))
        server.ship(manifest(name="gone"))
        server.http.post("/v1/apps/gone/stop")
    with running(tmp_path) as server:
        info = server.app("shop")
        assert info.functions == done.functions
        assert (info.app_id, info.version, info.state) == (done.app_id, 1, "deployed")
        assert list(server.runtime.active) == [done.app_id]
        assert server.ship(manifest()).version == 2


def test_a_broken_app_does_not_keep_the_others_from_coming_back(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.ship(manifest(name="good"))
        entry = server.put_blob(b"needed")
        server.ship(manifest(name="bad", files=(entry,)))
    (tmp_path / "blobs" / entry.sha256[:2] / entry.sha256).unlink()
    shutil.rmtree(tmp_path / "sources")
    with running(tmp_path) as server:
        assert server.app("good").error is None
        assert "main.py" in (server.app("bad").error or "")
        failed = server.ship(manifest(web(label="bad-hello"), name="third"))
        assert "served by app bad" in failed.message
        server.put_blob(b"needed")
        assert isinstance(server.ship(manifest(name="bad", files=(entry,))), Deployed)
        assert server.app("bad").error is None


def test_an_embedded_server_leaves_deployed_apps_alone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        done = server.ship(manifest())
    with running(tmp_path, embedded=True) as server:
        assert server.runtime.active == {}
        assert server.app("shop").functions == done.functions


def test_a_client_that_leaves_before_the_switch_ends_the_deploy(server: Server) -> None:
    app = server.create("shop")
    server.runtime.hold.clear()
    body = msgspec.json.encode(manifest())
    # The first deploy waits inside its switch, so the second waits for the app.
    with (
        server.http.stream("POST", f"/v1/apps/{app.app_id}/versions", content=body) as first,
        server.http.stream("POST", f"/v1/apps/{app.app_id}/versions", content=body),
    ):
        lines = first.iter_lines()
        next(lines)
    server.runtime.hold.set()
    eventually(lambda: server.runtime.activated == [(app.app_id, 1)])
    assert server.ship(manifest()).version == 2


def test_a_handle_has_what_a_client_needs_and_no_more(server: Server) -> None:
    cls = FunctionSpec(
        name="Model",
        module="m",
        qualname="Model",
        image="base",
        is_class=True,
        serialized=b"pickle",
        secrets=(InlineSecret(values={"K": "hidden"}),),
        env={"E": "hidden"},
        methods=(
            MethodSpec(name="predict"),
            MethodSpec(name="web", web=WebSpec(kind="asgi_app")),
        ),
    )
    done = server.ship(manifest(cls))
    assert [function.name for function in done.functions] == ["Model.predict", "Model.web"]
    for name in ("Model", "Model.predict"):
        response = server.http.get(f"/v1/functions/shop/{name}")
        handle = decode(response, FunctionHandle)
        assert [method.name for method in handle.spec.methods] == ["predict", "web"]
        assert handle.urls["web"][0] == "http://ada--shop-model-web.localhost:8400"
        assert "hidden" not in response.text
    assert server.http.get("/v1/functions/shop/nope").status_code == 404


def test_the_database_holds_no_secret_in_the_clear(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        body = msgspec.json.encode(PutSecret(values={"K": "named-hidden"}))
        server.http.put("/v1/secrets/s", content=body)
        inline = plain(secrets=(InlineSecret(values={"K": "inline-hidden"}),))
        assert isinstance(server.ship(manifest(inline)), Deployed)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("portico.db*"))
    assert b"shop" in kept
    assert b"hidden" not in kept


def test_a_manifest_of_another_name_is_refused(server: Server) -> None:
    app = server.create("shop")
    end = server.deploy(app.app_id, AppManifest(name="other"))[-1]
    assert isinstance(end, DeployFailed)


@pytest.mark.parametrize("serves", [True, False])
def test_a_switch_that_cannot_be_remembered_is_undone(
    server: Server, monkeypatch: pytest.MonkeyPatch, serves: bool
) -> None:
    if serves:
        server.ship(manifest(web("one")))

    async def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as fault:
        fault.setattr(server.control._store.apps, "activate_version", full)
        assert server.ship(manifest(web("two"))) == DeployFailed(message="the disk is full")
    versions = list(server.runtime.active.values())
    assert [v.manifest.functions[0].name for v in versions] == (["one"] if serves else [])
    assert isinstance(server.ship(manifest(web("two"), name="other")), Deployed)
    assert isinstance(server.ship(manifest(web("two"))), Deployed)
