"""The hosts that lead to web functions: long names, labels, custom domains, environments, ports of their own."""

from __future__ import annotations

import hashlib
import json
import socket
from urllib.parse import urlsplit

import pytest
from driver import Deployed, Portico, Running, get, until

NAMED = """
    import os
    import modal

    app = modal.App("NAME", image=IMAGE)

    @app.function()
    @modal.fastapi_endpoint(OPTIONS)
    def FUNCTION():
        return "NAME", os.environ["PORTICO_ENVIRONMENT"]
"""


def named(name: str, function: str = "page", **options: object) -> str:
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    text = NAMED.replace("NAME", name).replace("FUNCTION", function)
    return text.replace("OPTIONS", given)


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def at(server: Portico, host: str) -> object:
    """What the shared address answers to a request for `host`: its JSON, or its status."""
    response = get(server.web_url, headers={"host": host})
    return response.json() if response.status_code == 200 else response.status_code


def cut(whole: str, suffix: str = "") -> str:
    """SPEC §4, written anew: 63 characters with 6 digits of the SHA-256 of the whole."""
    digits = hashlib.sha256(f"{whole}{suffix}".encode()).hexdigest()[:6]
    return f"{whole[: 56 - len(suffix)]}-{digits}{suffix}"


def test_names_too_long_for_a_host_are_cut_and_stay_apart(server: Portico) -> None:
    app, stem = "Long." + "a" * 50, "handler_" + "h" * 40
    hosts = []
    for last in "xy":
        function = f"{stem}{last}"
        deployed = server.deploy("long.py", named(app, function), "--name", f"{app}{last}")
        hosts.append(host_of(deployed.urls[function][0]).removesuffix(".localhost"))
        label = f"{app}{last}-{function}".lower().replace(".", "-").replace("_", "-")
        assert hosts[-1] == cut(f"e2e--{label}")
        assert at(server, f"{hosts[-1]}.localhost") == [app, "main"]
    assert len(set(hosts)) == 2
    assert {len(host) for host in hosts} == {63}

    serve = server.begin("serve", server.script("long.py", named(app, stem)))
    host = serve.until(r"http://(\S+)\.localhost")[1]
    serve.until("Serving until")
    label = f"{app}-{stem}".lower().replace(".", "-").replace("_", "-")
    assert host == cut(f"e2e--{label}", "-dev")
    assert len(host) == 63
    assert at(server, f"{host}.localhost") == [app, "main"]
    serve.end()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("-a", {}),
        ("a/b", {}),
        ("x", {"label": "Upper"}),
        ("x", {"label": "-a"}),
        ("x", {"label": "12"}),
        ("x", {"custom_domains": ["https://x.example.com"]}),
        ("x", {"custom_domains": ["x.example.com:80"]}),
    ],
)
def test_names_no_url_can_carry_are_refused(
    server: Portico, name: str, options: dict[str, object]
) -> None:
    refused = server("deploy", server.script("bad.py", named(name, **options)), status=1)
    assert "bad.py:" in refused.stderr  # the user's line
    assert "Traceback" not in refused.stderr
    assert "cannot be part of a URL" in refused.stderr or "no host name" in refused.stderr


def raw(url: str, request: str) -> bytes:
    """The answer to bytes that no client library would send."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_custom_domain_is_routed_by_its_host_however_it_is_written(server: Portico) -> None:
    deployed = server.deploy("shop.py", named("shop", custom_domains=["Shop.Example.com"]))
    own, port, domain = deployed.urls["page"]
    assert domain == f"http://shop.example.com:{urlsplit(server.web_url).port}"
    for host in (
        *("shop.example.com", "shop.example.com:80", "SHOP.Example.COM", "shop.example.com."),
        *("shop.example.com.:8400", host_of(own), host_of(own).upper()),
    ):
        assert at(server, host) == ["shop", "main"], host
    for host in ("example.com", "www.shop.example.com", "shop.example.com.evil.org", "127.0.0.1"):
        assert at(server, host) == 404, host
    absolute = "GET http://shop.example.com/ HTTP/1.1\r\nHost: other.example\r\n"
    answer = raw(server.web_url, f"{absolute}Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    # A port of its own is the function's, whatever host a client says.
    assert get(port, headers={"host": "anything.example"}).json() == ["shop", "main"]
    assert raw(port, "GET / HTTP/1.0\r\n\r\n").endswith(b'["shop","main"]')


def test_a_domain_of_a_deployed_app_is_refused_to_others_until_that_stops(
    server: Portico,
) -> None:
    spec = {"custom_domains": ["only.example.com"]}
    server.deploy("first.py", named("only-first", **spec))
    refused = server(
        "deploy", server.script("second.py", named("only-second", **spec)), "-e", "eu", status=1
    )
    assert "only.example.com is served by app only-first" in refused.stderr
    assert "portico app stop only-first" in refused.stderr
    assert at(server, "only.example.com") == ["only-first", "main"]
    server("app", "stop", "only-first")
    assert at(server, "only.example.com") == 404
    server("deploy", "second.py", "-e", "eu")
    assert at(server, "only.example.com") == ["only-second", "eu"]


def serving(server: Portico, file: str, text: str) -> Running:
    serve = server.begin("serve", server.script(file, text))
    serve.until("Serving until")
    return serve


def test_a_newer_run_takes_label_and_domain_over_and_the_older_ends(server: Portico) -> None:
    spec = {"label": "desk", "custom_domains": ["desk.example.com"]}
    older = serving(server, "older.py", named("older", **spec))
    assert at(server, "e2e--desk-dev.localhost") == ["older", "main"]
    newer = serving(server, "newer.py", named("newer", **spec))
    assert older.wait() == 0
    assert "a newer run of newer has taken its URL over" in older.output
    for host in ("e2e--desk-dev.localhost", "desk.example.com"):
        assert at(server, host) == ["newer", "main"]
    newer.end()
    for host in ("e2e--desk-dev.localhost", "desk.example.com"):
        until(lambda host=host: at(server, host) == 404, f"404 for {host}")


def test_a_deploy_takes_a_domain_from_a_run_that_serves_on(server: Portico) -> None:
    text = named("both", custom_domains=["both.example.com"])
    serve = serving(server, "both.py", text)
    run = server.json("app", "describe", "both")
    assert (run["state"], at(server, "both.example.com")) == ("ephemeral", ["both", "main"])
    server.script("both.py", text.replace('return "both"', 'return "deployed"'))
    serve.until("Reloaded in")
    deployed = server.json("deploy", server.work / "both.py")
    assert at(server, "both.example.com") == ["deployed", "main"]
    assert {one["app_id"] for one in server.containers("both")} == {deployed["app_id"]}
    assert at(server, "e2e--both-page-dev.localhost") == ["deployed", "main"]
    server.script("both.py", text.replace('return "both"', 'return "edited"'))
    serve.until(r"Reloaded in[\s\S]*Reloaded in")
    assert at(server, "e2e--both-page-dev.localhost") == ["edited", "main"]
    assert at(server, "both.example.com") == ["deployed", "main"]
    assert len(server.json("app", "describe", run["app_id"])["functions"][0]["urls"]) == 2
    later = serving(server, "later.py", text.replace('"both",', '"both-later",', 1))
    assert "both.example.com stays with app both" in later.output
    later.end()
    serve.end()


CALLER = """
    import modal

    app = modal.App("caller")

    @app.local_entrypoint()
    def main():
        print(modal.Function.from_name("answers", "where").remote())
        print(modal.Function.from_name("answers", "where", environment_name="main").remote())

    @app.function()
    def nothing():
        return None
"""
ANSWERS = """
    import os
    import modal

    app = modal.App("answers", image=IMAGE)

    @app.function()
    def where():
        return os.environ["PORTICO_ENVIRONMENT"]

    @app.function()
    @modal.fastapi_endpoint()
    def page():
        return os.environ["PORTICO_ENVIRONMENT"]
"""


def test_two_environments_are_two_apps(server: Portico) -> None:
    main = server.deploy("answers.py", ANSWERS)
    other = Deployed(server.json("deploy", "-e", "eu-2", "answers.py"))
    assert other.app_id != main.app_id
    assert host_of(other.urls["page"][0]) == "e2e-eu-2--answers-page.localhost"
    for app, environment in ((main, "main"), (other, "eu-2")):
        assert get(app.url("page")).json() == environment
        assert at(server, host_of(app.urls["page"][0])) == environment
    listed = {app["app_id"]: app["environment"] for app in server.json("app", "list")}
    assert (listed[main.app_id], listed[other.app_id]) == ("main", "eu-2")
    (container,) = server.json("container", "list", "--env", "eu-2", "--app", "answers")
    assert (container["app_id"], container["environment"]) == (other.app_id, "eu-2")

    script = server.script("caller.py", CALLER)
    assert server("run", "-e", "eu-2", script).stdout == "eu-2\nmain\n"
    in_variable = {**server.env, "PORTICO_ENVIRONMENT": "eu-2"}
    assert server("run", script, env=in_variable).stdout == "eu-2\nmain\n"

    server("app", "stop", "answers", env=in_variable)
    assert get(other.url("page")).status_code == 404
    assert get(main.url("page")).json() == "main"
    missing = server("app", "describe", "answers", "-e", "eu-3", status=1)
    assert "no app 'answers' in environment 'eu-3'" in missing.stderr
    assert json.loads(server("app", "list", "-e", "eu-3", "--json").stdout) == []
