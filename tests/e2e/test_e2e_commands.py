"""The commands that look at apps and manage what they need."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from driver import Deployed, Portico, get, until

TALKER = """
    import sys
    import modal

    app = modal.App("talker", image=IMAGE)

    @app.function()
    @modal.fastapi_endpoint()
    def say(word: str):
        print("heard", word)
        print("whispered", word, file=sys.stderr)
        return word

    @app.function()
    def plain():
        return None
"""


@pytest.fixture(scope="module")
def talker(server: Portico) -> Deployed:
    return server.deploy("talker.py", TALKER)


def test_every_listing_is_one_json_document(talker: Deployed, server: Portico) -> None:
    assert get(talker.url("say"), params={"word": "hello"}).json() == "hello"
    app = next(one for one in server.json("app", "list") if one["name"] == "talker")
    assert (app["app_id"], app["state"]) == (talker.app_id, "deployed")
    described = server.json("app", "describe", "talker")
    assert {f["name"]: f["kind"] for f in described["functions"]} == {
        "say": "fastapi_endpoint",
        "plain": "function",
    }
    assert described["functions"] == talker.record["functions"]
    assert [one["version"] for one in server.json("app", "history", "talker")] == [1]
    (container,) = server.containers("talker")
    assert (container["function"], container["state"]) == ("say", "ready")
    server.until_logged("talker", "heard hello")
    lines = server.json("app", "logs", "talker")
    assert {line["stream"] for line in lines} >= {"stdout", "stderr"}
    for command in ("secret", "token"):
        assert isinstance(server.json(command, "list"), list)
    assert server.json("server", "status")["web_url"] == server.web_url


def test_listings_in_a_pipe_are_plain(talker: Deployed, server: Portico) -> None:
    for arguments in (["app", "list"], ["app", "describe", "talker"], ["app", "history", "talker"]):
        said = server(*arguments).stdout
        assert "\x1b" not in said
        assert "talker" in said or arguments[1] == "history"


def test_logs_are_followed_until_told_to_end(talker: Deployed, server: Portico) -> None:
    follow = server.begin("app", "logs", "talker", "--follow")
    get(talker.url("say"), params={"word": "marker-1"})
    follow.until(r"^say +\| heard marker-1$")
    get(talker.url("say"), params={"word": "marker-2"})
    follow.until(r"^say +\| whispered marker-2$")
    follow.send(2)
    assert follow.wait() == 0
    assert "Traceback" not in follow.output


def test_following_logs_ends_with_an_ephemeral_app(server: Portico) -> None:
    serve = server.begin("serve", server.script("brief.py", TALKER.replace('"talker"', '"brief"')))
    app_id = serve.until(r"ap-\w+")[0]
    serve.until("Serving until")
    follow = server.begin("app", "logs", app_id, "--follow")
    get(serve.until(r"http://127\.0\.0\.1:\d+")[0], params={"word": "once"})
    follow.until("heard once")
    serve.end()
    assert follow.wait() == 0


def test_a_container_is_listed_heard_and_stopped(talker: Deployed, server: Portico) -> None:
    get(talker.url("say"), params={"word": "loud"})
    (container,) = server.containers("talker")
    name = container["container_id"]
    server.until_logged("talker", "heard loud")
    assert "heard loud" in server("container", "logs", name).stdout
    server("container", "stop", name)
    until(lambda: not Path(f"/proc/{container['pid']}").exists(), "the container's end")
    assert name not in [one["container_id"] for one in server.containers("talker")]
    assert get(talker.url("say"), params={"word": "anew"}).json() == "anew"
    assert "ta-nobody" in server("container", "stop", "ta-nobody", status=1).stderr


VALUE = "very-secret-value-93f1"


def test_a_secrets_value_is_nowhere_to_be_read(own: Portico) -> None:
    said = own("secret", "create", "vault", "VAULT=-", stdin=VALUE)
    said.stdout += own("secret", "list").stdout + own("secret", "list", "--json").stdout
    refused = own("secret", "create", "vault", f"VAULT={VALUE}", status=1)
    assert "--force" in refused.stderr
    own("secret", "create", "vault", f"VAULT={VALUE}", "--force")
    app = own.deploy(
        "vaulted.py",
        """
        import modal, os
        app = modal.App("vaulted", image=IMAGE)
        held = [modal.Secret.from_name("vault"), modal.Secret.from_dict({"INLINE": "LITERAL"})]

        @app.function(secrets=held)
        @modal.fastapi_endpoint()
        def sizes():
            return [len(os.environ["VAULT"]), len(os.environ["INLINE"])]
        """.replace("LITERAL", VALUE[::-1]),
    )
    assert get(app.url("sizes")).json() == [len(VALUE)] * 2
    assert [one["keys"] for one in own.json("secret", "list")] == [["VAULT"]]
    assert VALUE not in said.stdout + said.stderr + refused.stdout + refused.stderr
    assert VALUE not in own("app", "describe", "vaulted", "--json").stdout
    holders = [
        path
        for path in own.state.rglob("*")
        if path.is_file() and "images" not in path.parts and VALUE.encode() in path.read_bytes()
    ]
    assert holders == []
    with sqlite3.connect(own.state / "portico.db") as database:  # the write-ahead log included
        dump = "\n".join(database.iterdump())
    database.close()
    assert "vault" in dump
    assert VALUE not in dump
    assert VALUE.encode().hex() not in dump.lower()
    assert VALUE[::-1].encode().hex() not in dump.lower()
    own("secret", "delete", "vault")
    assert own.json("secret", "list") == []
    assert "vault" in own("secret", "delete", "vault", status=1).stderr


BROKEN = """
    import os
    import modal

    app = modal.App("broken", image=IMAGE)
    held = [modal.Secret.from_name("vault"), modal.Secret.from_dict({"INLINE": "LITERAL"})]

    @app.cls(secrets=held)
    class Broken:
        @modal.enter()
        def enter(self):
            assert os.environ["VAULT"] + os.environ["INLINE"] == "right"

        @modal.fastapi_endpoint()
        def page(self):
            return None
"""


def test_a_secrets_value_is_in_no_error_and_no_log(user: Portico) -> None:
    server = user.start_server()
    user("secret", "create", "vault", "VAULT=-", stdin=VALUE)
    serve = user.begin("serve", user.script("broken.py", BROKEN.replace("LITERAL", VALUE[::-1])))
    url = serve.until(r"http://127\.0\.0\.1:\d+")[0]
    failed = get(url)
    assert failed.status_code == 503
    assert (
        "AssertionError" in failed.json()["detail"]
    )  # the user's traceback, with the line it is in
    app = user("app", "describe", "broken", "--json").stdout
    logs = user.until_logged("broken", "AssertionError")
    serve.end()
    for shown in (failed.text, app, logs, serve.output, server.output):
        assert VALUE not in shown
        assert VALUE[::-1] not in shown


def test_a_missing_secret_fails_the_deploy_and_names_the_fix(server: Portico) -> None:
    script = server.script(
        "wanting.py",
        """
        import modal
        app = modal.App("wanting", secrets=[modal.Secret.from_name("not-there")])

        @app.function()
        def f():
            return None
        """,
    )
    failed = server("deploy", script, status=1)
    assert "portico secret create not-there" in failed.stderr


def test_a_token_and_a_url_are_all_that_a_client_needs(
    talker: Deployed, server: Portico, tmp_path: Path
) -> None:
    token = server.json("token", "create", "laptop")
    url = server.json("server", "status")["api_url"]
    empty = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PORTICO_SERVER_URL": url,
        "PORTICO_TOKEN": token["secret"],
    }
    assert talker.app_id in server("app", "list", "--json", env=empty).stdout
    assert token["secret"] not in server("token", "list", "--json").stdout
    database = (server.state / "portico.db").read_bytes()
    database += (server.state / "portico.db-wal").read_bytes()
    assert token["secret"].encode() not in database

    server("token", "revoke", token["id"])
    refused = server("app", "list", env=empty, status=1)
    assert "token" in refused.stderr
    assert "portico token create" in refused.stderr
    del empty["PORTICO_TOKEN"]
    assert "PORTICO_TOKEN" in server("app", "list", env=empty, status=1).stderr
    empty.update(PORTICO_SERVER_URL="http://127.0.0.1:1", PORTICO_TOKEN="x")
    unreachable = server("app", "list", env=empty, status=1)
    assert "http://127.0.0.1:1" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr


def test_the_config_file_names_a_server_and_its_settings(
    talker: Deployed, server: Portico, tmp_path: Path
) -> None:
    kept = {name: value for name, value in server.env.items() if not name.startswith("PORTICO_")}
    env = {**kept, "HOME": str(tmp_path), "PORTICO_CONFIG": str(tmp_path / "config.toml")}
    token = server.json("token", "create", "from-config")
    server("config", "set", "server_url", server.json("server", "status")["api_url"], env=env)
    server("config", "set", "token", token["secret"], env=env)
    server("config", "set", "domain", "example.org", env=env)
    shown = server("config", "show", env=env).stdout
    assert token["secret"] not in shown
    assert "example.org" in shown
    assert (tmp_path / "config.toml").stat().st_mode & 0o777 == 0o600
    assert talker.app_id in server("app", "list", "--json", env=env).stdout
    server("config", "set", "colour", "green", env=env, status=2)
    server("config", "set", "web", "nowhere", env=env, status=2)


def test_wrong_usage_is_exit_code_2_and_a_missing_app_1(server: Portico) -> None:
    assert "No such command" in server("fly", status=2).stderr
    assert "absent.py" in server("deploy", "absent.py", status=2).stderr
    assert "nothing-here" in server("app", "describe", "nothing-here", status=1).stderr
    assert server("app", "logs", "talker", "-f", "--json", status=2).stdout == ""
