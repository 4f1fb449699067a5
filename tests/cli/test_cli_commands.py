from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from control_standin import StandIn
from portico.cli.config import server_keys
from portico.wire.api import DeployFailed

GROUPS = (
    *("serve", "deploy", "run", "server", "app", "container", "secret", "proxy-token", "token"),
    "config",
)
LISTINGS = [
    ("app", "list"),
    ("app", "describe", "hello"),
    ("app", "history", "hello"),
    ("app", "logs", "hello"),
    ("app", "stop", "hello"),
    ("app", "rollback", "hello"),
    ("container", "list"),
    ("container", "logs", "ta-1"),
    ("secret", "list"),
    ("proxy-token", "list"),
    ("proxy-token", "create", "ci"),
    ("token", "list"),
    ("token", "create", "laptop"),
    ("server", "status"),
    ("config", "show"),
    ("deploy", "hello.py"),
]


def test_help_names_every_group_and_imports_nothing_heavy(portico_alone) -> None:
    done = portico_alone("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    for group in GROUPS:
        assert f"\n  {group} " in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"httpx", "rich.console", "pydantic", "fastapi", "asyncio", "watchfiles"}


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_json_is_one_document_and_nothing_else_on_stdout(portico, command) -> None:
    done = portico(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), (dict, list))


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_without_a_terminal_output_is_plain(portico, command) -> None:
    done = portico(*command)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("no-such-command",),
        ("serve",),
        ("serve", "missing.py"),
        ("serve", "."),
        ("deploy", "hello.txt"),
        ("deploy", "hello.py::"),
        ("app", "logs", "hello", "--since", "yesterday"),
        ("app", "logs", "hello", "--json", "--follow"),
        ("secret", "create", "db"),
        ("secret", "create", "db", "just-a-value"),
        ("config", "set", "colour", "red"),
        ("config", "set", "web", "nowhere"),
        ("config", "set", "environment", "No.Where"),
        ("server", "run", "--web", "nowhere"),
        ("server", "run", "--max-request-body", "4GB"),
        ("server", "start", "--head-timeout", "soon"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_no_stack_trace(portico, command) -> None:
    done = portico(*command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_the_error_says_how_to_start_one(portico_alone) -> None:
    done = portico_alone("app", "list", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: no Portico server is configured")
    assert "portico server start" in done.stderr


def test_debug_adds_porticos_own_stack_trace(portico_alone) -> None:
    assert "Traceback" in portico_alone("--debug", "app", "list").stderr
    assert "Traceback" in portico_alone("app", "list", PORTICO_DEBUG="1").stderr


@pytest.mark.parametrize(
    "command",
    [
        ("app", "list"),
        ("app", "describe", "hello"),
        ("app", "logs", "hello"),
        ("app", "history", "hello"),
        ("app", "rollback", "hello"),
        ("app", "stop", "hello"),
        ("container", "list"),
        ("container", "list", "--app", "hello"),
    ],
    ids=" ".join,
)
def test_what_a_command_names_is_looked_for_in_its_environment(
    portico, server: StandIn, command: tuple[str, ...]
) -> None:
    assert portico(*command, PORTICO_ENVIRONMENT="eu-2").returncode == 0
    assert portico(*command, "-e", "dev", PORTICO_ENVIRONMENT="eu-2").returncode == 0
    # Listings are of all environments unless one is asked for.
    is_listing = command in (("app", "list"), ("container", "list"))
    assert server.scopes == (["dev"] if is_listing else ["eu-2", "dev"])
    refused = portico(*command, "--env", "Dev")
    assert refused.returncode == 2
    assert "cannot be part of a URL" in refused.stderr


def test_a_script_is_loaded_and_deployed_in_its_environment(
    portico, server: StandIn, script: Path, bare_env: dict[str, str]
) -> None:
    with script.open("a") as file:
        file.write("\nimport os\nprint('seen', os.environ['PORTICO_ENVIRONMENT'])\n")
    assert "seen main" in portico("deploy", "hello.py").stderr
    assert "seen dev" in portico("deploy", "hello.py", "-e", "dev").stderr
    assert "seen dev" in portico("run", "-e", "dev", "hello.py::double", "--x", "1").stdout
    Path(bare_env["PORTICO_CONFIG"]).write_text('environment = "staging"\n')
    assert "seen staging" in portico("deploy", "hello.py").stderr
    assert [made.environment for made in server.created] == ["main", "dev", "dev", "staging"]
    for command in ("deploy", "serve", "run"):
        assert portico(command, "--env", "", "hello.py").returncode == 2
        assert portico(command, "hello.py", PORTICO_ENVIRONMENT="a.b").returncode == 2
    assert len(server.created) == 4


def test_listings_have_a_column_for_the_environment(portico, server: StandIn) -> None:
    portico("deploy", "hello.py")
    for listing in ("app", "container"):
        head, row = portico(listing, "list").stdout.splitlines()
        assert "ENVIRONMENT" in head.split()
        assert "main" in row.split()
        (one,) = json.loads(portico(listing, "list", "--json").stdout)
        assert one["environment"] == "main"
    assert "deployed in main" in portico("app", "describe", "hello").stdout


def test_deploy_json_names_functions_kinds_and_urls(portico, server: StandIn) -> None:
    done = portico("deploy", "hello.py", "--name", "renamed", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "app_id": "ap-1",
        "name": "renamed",
        "version": 1,
        "functions": [
            {
                "name": "square",
                "id": "fu-1",
                "kind": "fastapi_endpoint",
                "urls": ["http://me--square.localhost:1"],
            },
            {"name": "double", "id": "fu-1", "kind": "function", "urls": []},
        ],
    }
    assert "imported" in done.stderr, "what the script prints goes to stderr"
    assert "Resolved 3 packages" in done.stderr
    assert server.blobs.keys() == {entry.sha256 for entry in server.manifests[0].files}


def test_deploy_prints_whole_urls_in_a_pipe(portico) -> None:
    done = portico("deploy", "hello.py", COLUMNS="20")
    assert "http://me--square.localhost:1" in done.stdout


def test_a_script_that_fails_shows_the_users_traceback_only(portico, script: Path) -> None:
    script.write_text("import portico\napp = portico.App('hello')\n1 / 0\n")
    done = portico("deploy", "hello.py", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ZeroDivisionError" in done.stderr
    assert 'hello.py", line 3' in done.stderr
    assert "portico/" not in done.stderr


def test_a_mistake_of_declaration_names_the_users_line(portico, script: Path) -> None:
    script.write_text("import portico\napp = portico.App('hello')\n@app.function\ndef f(): ...\n")
    done = portico("deploy", "hello.py")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "hello.py:3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_deploy_shows_the_servers_words(portico, server: StandIn) -> None:
    server.fail_deploys_with = DeployFailed(
        message="the image does not build", detail="pip says no"
    )
    done = portico("deploy", "hello.py")
    assert done.returncode == 1
    assert "error: the image does not build" in done.stderr
    assert "pip says no" in done.stderr


def test_secret_values_come_from_arguments_stdin_and_dotenv_and_are_never_shown(
    portico, server: StandIn, script: Path
) -> None:
    (script.parent / "my.env").write_text("A=from-file\nB='from file'\n")
    done = portico(
        *("secret", "create", "db", "A=argument-wins", "PASSWORD=-", "--from-dotenv", "my.env"),
        stdin="typed=secret\n",
    )
    assert done.returncode == 0, done.stderr
    assert server.secrets["db"] == {
        "A": "argument-wins",
        "B": "from file",
        "PASSWORD": "typed=secret",
    }
    for value in server.secrets["db"].values():
        assert value not in done.stdout + done.stderr
    again = portico("secret", "create", "db", "A=1")
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert portico("secret", "create", "db", "A=1", "--force").returncode == 0
    assert portico("secret", "delete", "db").returncode == 0
    assert portico("secret", "delete", "db").returncode == 1


def test_a_mistyped_secret_is_not_repeated_in_the_error(portico) -> None:
    done = portico("secret", "create", "db", "hunter2")
    assert "hunter2" not in done.stderr


def test_a_new_tokens_secret_is_all_of_stdout(portico) -> None:
    assert portico("token", "create", "laptop").stdout == "tk-1.shown-once\n"
    assert "shown-once" not in portico("token", "list").stdout


def test_a_new_proxy_token_is_printed_as_the_headers_to_send(portico, server: StandIn) -> None:
    made = portico("proxy-token", "create")
    assert made.stdout == "Modal-Key: wk-1\nModal-Secret: ws-shown-once\n"
    assert "not shown again" in made.stderr
    assert "ws-shown-once" not in made.stderr + portico("proxy-token", "list").stdout
    assert "wk-1  ci" in portico("proxy-token", "list").stdout
    assert portico("proxy-token", "revoke", "wk-1").returncode == 0
    assert server.revoked == ["wk-1"]


def test_logs_are_prefixed_with_their_function_and_filtered_by_the_server(
    portico, server: StandIn
) -> None:
    done = portico("app", "logs", "hello", "--tail", "7", "--since", "10m", "--container", "ta-1")
    assert done.stdout.splitlines() == ["square | one", "square | two"]
    (query,) = server.log_queries
    assert query["tail"] == "7"
    assert query["container"] == "ta-1"
    assert float(query["since"]) > 0


def test_config_set_writes_a_private_file_that_show_reads_back(
    portico_alone, bare_env: dict[str, str]
) -> None:
    path = Path(bare_env["PORTICO_CONFIG"])
    path.write_text(
        '# mine\nserver_url = "http://old"\n\n[other]\nkept = 1\n[server]\nhead-timeout = 3\n'
    )
    for key, value in (
        ("token", "tk-9.hush"),
        ("server_url", "http://new"),
        ("rate_limit", "50"),
        ("environment", "staging"),
        ("web", "127.0.0.1:0"),
        ("max_request_body", "16MiB"),
        ("idle_timeout", "5"),
    ):
        assert portico_alone("config", "set", key, value).returncode == 0
    text = path.read_text()
    assert text.startswith("# mine\n")
    assert "kept = 1" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = portico_alone("config", "show").stdout
    assert re.search(r"^max_request_body +16MiB +config file$", text, re.MULTILINE)
    assert re.search(r"^max_request_head +64KiB +default$", text, re.MULTILINE)
    shown = portico_alone("config", "show", "--json", PORTICO_WEB="127.0.0.1:7")
    settings = json.loads(shown.stdout)["settings"]
    assert settings["server_url"] == {"value": "http://new", "source": "config file"}
    assert settings["rate_limit"] == {"value": 50.0, "source": "config file"}
    assert settings["max_request_body"] == {"value": 16 * 1024**2, "source": "config file"}
    assert settings["idle_timeout"] == {"value": 5.0, "source": "config file"}
    assert settings["head_timeout"] == {"value": 3.0, "source": "config file"}
    assert settings["web"] == {"value": "127.0.0.1:7", "source": "PORTICO_WEB"}
    assert settings["environment"] == {"value": "staging", "source": "config file"}
    assert "hush" not in shown.stdout
    shown = portico_alone("config", "show", "--json", PORTICO_ENVIRONMENT="eu-2")
    environment = json.loads(shown.stdout)["settings"]["environment"]
    assert environment == {"value": "eu-2", "source": "PORTICO_ENVIRONMENT"}
    assert portico_alone("config", "set", "environment", "").returncode == 0
    shown = portico_alone("config", "show", "--json")
    environment = json.loads(shown.stdout)["settings"]["environment"]
    assert environment == {"value": "main", "source": "default"}
    assert portico_alone("config", "set", "token", "").returncode == 0
    assert "token" not in path.read_text()


def test_config_set_replaces_and_removes_a_key_in_either_spelling(
    portico_alone, bare_env: dict[str, str]
) -> None:
    path = Path(bare_env["PORTICO_CONFIG"])
    path.write_text(
        '[server]\nrate-limit = 3\nweb = "127.0.0.1:0"\nrate_limit = 4\n[x]\nrate_limit = 5\n'
    )
    assert portico_alone("config", "set", "rate_limit", "none").returncode == 0
    assert path.read_text() == (
        '[server]\nrate_limit = "none"\nweb = "127.0.0.1:0"\n[x]\nrate_limit = 5\n'
    )
    text = portico_alone("config", "show").stdout
    assert re.search(r"^rate_limit +none +config file$", text, re.MULTILINE)
    path.write_text("[server]\nrate-limit = 3\n")
    assert portico_alone("config", "set", "rate_limit", "").returncode == 0
    assert path.read_text() == "[server]\n"


@pytest.mark.parametrize("key", ["access_log", "tls_cert", "state_dir"])
def test_config_set_writes_files_so_that_a_server_in_another_folder_finds_them(
    portico_alone, bare_env: dict[str, str], key: str
) -> None:
    assert portico_alone("config", "set", key, "somewhere").returncode == 0
    written = tomllib.loads(Path(bare_env["PORTICO_CONFIG"]).read_text())["server"][key]
    assert Path(written).is_absolute()
    assert Path(written).name == "somewhere"


def test_the_servers_help_fits_a_terminal_and_has_every_option_once_in_its_group(
    portico_alone,
) -> None:
    text = portico_alone("server", "run", "--help", COLUMNS="80").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert re.findall(r"^(\w.*):$", text, re.MULTILINE) == [
        "Options",
        "Limits",
        "HTTPS and proxies",
    ]
    options = re.findall(r"^  --([a-z-]+) ", text, re.MULTILINE)
    assert {name.replace("-", "_") for name in options} == set(server_keys())
    assert len(options) == len(set(options))
    limits = text.partition("\nLimits:\n")[2].partition("\n\n")[0]
    assert "--max-request-body" in limits
    assert "--web" not in limits


def test_a_broken_config_file_is_said_plainly(portico_alone, bare_env: dict[str, str]) -> None:
    Path(bare_env["PORTICO_CONFIG"]).write_text("server_url = \n")
    done = portico_alone("app", "list")
    assert done.returncode == 1
    assert "is not TOML" in done.stderr
    assert "Traceback" not in done.stderr


def test_listing_commands_use_the_server_that_a_serve_embeds(
    portico_alone, bare_env: dict[str, str], server: StandIn
) -> None:
    folder = Path(bare_env["PORTICO_STATE_DIR"])
    folder.mkdir()
    record = {"url": server.url, "token": "stand-in-token", "pid": os.getpid(), "embedded": True}
    (folder / f"embedded-{os.getpid()}.json").write_text(json.dumps(record))
    assert portico_alone("container", "list").returncode == 0
    assert portico_alone("proxy-token", "create").returncode == 0
    assert portico_alone("secret", "list").returncode == 1


@pytest.mark.parametrize("command", [["server", "start"], ["run", "hello.py::double", "--x", "1"]])
def test_a_state_folder_that_cannot_be_is_no_defect(
    portico_alone, bare_env: dict[str, str], command: list[str]
) -> None:
    Path(bare_env["PORTICO_STATE_DIR"]).touch()
    done = portico_alone(*command)
    assert done.returncode == 1
    assert f"error: cannot use {bare_env['PORTICO_STATE_DIR']}: File exists" in done.stderr
    assert "PORTICO_STATE_DIR names another" in done.stderr
    assert "defect" not in done.stderr


def test_the_version_is_told(portico_alone) -> None:
    assert portico_alone("--version").stdout.startswith("portico ")


def test_stop_without_a_server_has_nothing_to_do(portico_alone) -> None:
    done = portico_alone("server", "stop")
    assert done.returncode == 0
    assert "No server runs" in done.stdout


def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    portico_alone, bare_env: dict[str, str]
) -> None:
    folder = Path(bare_env["PORTICO_STATE_DIR"])
    folder.mkdir()
    (folder / "run").write_text("in the way of the folder")
    done = portico_alone("server", "start")
    assert done.returncode == 1
    assert "error: the server did not start" in done.stderr
    assert "server.log" in done.stderr


def test_the_reader_going_away_is_no_defect(env: dict[str, str], script: Path) -> None:
    import subprocess
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "portico", "app", "logs", "hello"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=env,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""
