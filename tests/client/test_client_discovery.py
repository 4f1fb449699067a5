from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from control_standin import TOKEN, StandIn
from portico import exception
from portico.client.discovery import (
    configured,
    find_server,
    process_lives,
    running_embedded,
    running_local,
    state_dir,
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "PORTICO_CONFIG": str(tmp_path / "config.toml"),
        "PORTICO_STATE_DIR": str(tmp_path / "state"),
    }


def leave_record(folder: Path, name: str = "client.json", **fields: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"token": TOKEN, "pid": os.getpid(), **fields}))


def test_nothing_configured_and_nothing_running_is_none(env: dict[str, str]) -> None:
    assert find_server(env) is None


def test_the_environment_wins_over_the_file(env: dict[str, str]) -> None:
    Path(env["PORTICO_CONFIG"]).write_text('server_url = "http://file"\ntoken = "of-file"\n')
    found = configured({**env, "PORTICO_SERVER_URL": "http://env/", "PORTICO_TOKEN": "of-env"})
    assert found is not None
    assert (found.url, found.token) == ("http://env", "of-env")
    assert configured(env).token == "of-file"


def test_the_files_token_is_not_sent_to_another_url(env: dict[str, str]) -> None:
    Path(env["PORTICO_CONFIG"]).write_text('server_url = "http://file"\ntoken = "of-file"\n')
    with pytest.raises(exception.AuthError, match="no token for the server http://elsewhere"):
        configured({**env, "PORTICO_SERVER_URL": "http://elsewhere"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server_url = ", "not TOML"),
        ('server_url = "localhost:8401"', "http://"),
        ('server_url = "http://x"', "PORTICO_TOKEN"),
    ],
)
def test_a_wrong_config_file_says_what_to_correct(
    env: dict[str, str], text: str, message: str
) -> None:
    Path(env["PORTICO_CONFIG"]).write_text(text)
    with pytest.raises(exception.Error, match=message):
        find_server(env)


def test_the_local_server_is_found_through_the_state_folder(
    env: dict[str, str], server: StandIn
) -> None:
    leave_record(state_dir(env), url=server.url)
    found = find_server(env)
    assert found is not None
    assert (found.url, found.token, found.pid) == (server.url, TOKEN, os.getpid())


def test_the_config_file_can_move_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[server]\nstate_dir = "/elsewhere"\n')
    env = {"PORTICO_CONFIG": str(tmp_path / "config.toml")}
    assert state_dir(env) == Path("/elsewhere")
    assert state_dir({**env, "PORTICO_STATE_DIR": "/here"}) == Path("/here")


def test_without_anything_the_state_folder_is_in_the_users_data(tmp_path: Path) -> None:
    env = {"PORTICO_CONFIG": str(tmp_path / "none"), "XDG_DATA_HOME": "/data"}
    assert state_dir(env) == Path("/data/portico")


def test_the_record_of_a_dead_process_does_not_count(tmp_path: Path, server: StandIn) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    leave_record(tmp_path, url=server.url, pid=ended.pid)
    assert running_local(tmp_path) is None


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_lives(child.pid)
    child.wait()


def test_a_process_that_took_over_the_pid_is_not_the_server(
    tmp_path: Path, server: StandIn
) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        leave_record(tmp_path, url=server.url, pid=other.pid)
        assert running_local(tmp_path) is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("text", ["", "{", '{"url": 1}', "null"])
def test_a_broken_record_does_not_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "client.json").write_text(text)
    assert running_local(tmp_path) is None


def test_embedded_servers_are_listed_but_not_found_as_the_server(
    env: dict[str, str], server: StandIn
) -> None:
    folder = state_dir(env)
    leave_record(folder, f"embedded-{os.getpid()}.json", url=server.url, embedded=True)
    leave_record(folder, "embedded-2.json", url="http://127.0.0.1:9", embedded=True)
    assert [record.url for record in running_embedded(folder)] == [server.url]
    assert find_server(env) is None
