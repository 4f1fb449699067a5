from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest
from pydantic import ValidationError

from portico.gateway.limits import Limits
from portico.pools.waiter import MAX_WAITING
from portico.server.config import ServerSettings
from portico.server.descriptors import Shares, share
from portico.server.server import limits


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"PORTICO_{name.upper()}", raising=False)
    monkeypatch.setenv("PORTICO_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def test_defaults_are_those_of_the_specification():
    settings = ServerSettings()
    assert (settings.web, settings.api) == ("127.0.0.1:8400", "127.0.0.1:8401")
    assert (settings.domain, settings.rate_limit) == ("localhost", 200.0)
    assert settings.workspace
    assert (settings.rate_burst, settings.max_waiting) == (1000, MAX_WAITING)
    shares = share(65_536, settings.max_connections)
    assert limits(settings, shares) == Limits(
        connections=shares.clients, upstream_connections=shares.upstream
    )
    assert shares.clients > 10_000


def test_every_limit_reaches_the_gateway():
    given = {
        "max_request_body": "1MiB",
        "max_replay_body": "3KiB",
        "max_request_head": "2 KiB",
        "max_request_headers": "7",
        "max_websocket_message": "0.5MiB",
        "head_timeout": "1.5",
        "idle_timeout": 9,
        "max_connections": 5,
    }
    found = limits(ServerSettings(**given), Shares(5, 6))
    assert not [each for each in dataclasses.astuple(found) if str(each).endswith("B")]
    assert found == Limits(
        request_body=1024**2,
        replay_body=3 * 1024,
        head=2 * 1024,
        headers=7,
        websocket_message=512 * 1024,
        head_timeout=1.5,
        idle_timeout=9.0,
        connections=5,
        upstream_connections=6,
    )


@pytest.mark.parametrize(
    ("rate", "burst"), [("200", 1000), ("0.5", 2), ("0.01", 1), ("none", None)]
)
def test_the_bucket_holds_five_seconds_of_the_rate_and_always_one_token(rate, burst):
    assert ServerSettings(rate_limit=rate).rate_burst == burst
    assert ServerSettings(rate_limit=rate, rate_burst="3").rate_burst == 3


@pytest.mark.parametrize(
    ("text", "size", "printed"),
    [
        ("4GiB", 4 * 1024**3, "4GiB"),
        ("1.5 gib", 3 * 512 * 1024**2, "1536MiB"),
        ("65536", 65536, "64KiB"),
        ("1001B", 1001, "1001"),
        (1024, 1024, "1KiB"),
    ],
)
def test_sizes_are_read_and_printed_as_people_write_them(text, size, printed):
    read = ServerSettings(max_request_body=text).max_request_body
    assert (read, str(read)) == (size, printed)


def test_command_line_wins_over_environment_and_environment_over_the_file(clean, monkeypatch):
    clean.write_text('[server]\nworkspace = "file"\ndomain = "file.example"\nrate-limit = 5\n')
    monkeypatch.setenv("PORTICO_WORKSPACE", "env")
    monkeypatch.setenv("PORTICO_DOMAIN", "env.example")
    settings = ServerSettings(workspace="line")
    assert (settings.workspace, settings.domain, settings.rate_limit) == (
        "line",
        "env.example",
        5.0,
    )


def test_values_are_parsed(monkeypatch):
    monkeypatch.setenv("PORTICO_TRUSTED_PROXY", "10.0.0.0/8, ::1")
    monkeypatch.setenv("PORTICO_RATE_LIMIT", "none")
    settings = ServerSettings(web="[::1]:0")
    assert settings.trusted_proxy == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1"),
    )
    assert settings.rate_limit is None
    assert (settings.web.host, settings.web.port) == ("::1", 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("web", "8400"),
        ("api", "host:99999"),
        ("domain", "no spaces"),
        ("rate_limit", "0"),
        ("rate_limit", "fast"),
        ("trusted_proxy", "10.0.0.0/99"),
        ("sandbox", "chroot"),
        ("rate_limit", "inf"),
        ("rate_burst", "0"),
        ("max_waiting", "many"),
        ("max_connections", "-1"),
        ("max_request_body", "4GB"),
        ("max_request_body", "0"),
        ("max_request_body", "9" * 400),
        ("max_request_head", "0.3"),
        ("max_request_headers", "1.5"),
        ("head_timeout", "nan"),
        ("idle_timeout", "0"),
        ("idle_timeout", "75s"),
        ("idle_timeout", True),
        ("rate_limit", True),
        ("rate_limit", "1e308"),
        ("access_log", ""),
    ],
)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=name):
        ServerSettings(**{name: value})


@pytest.mark.parametrize(
    "name", ["rate_limit", "tls_cert", "access_log", "max_request_body", "web"]
)
def test_an_empty_variable_is_none(name, monkeypatch):
    monkeypatch.setenv(f"PORTICO_{name.upper()}", "")
    assert getattr(ServerSettings(), name) == ServerSettings.model_fields[name].default


@pytest.mark.parametrize("limit", [256, 1024, 20_000, 65_536])
def test_open_files_are_shared_so_that_every_side_has_some(limit):
    clients, upstream = share(limit, "auto")
    kept = limit - clients - upstream
    assert clients > upstream > 0
    assert kept >= min(limit // 8, 4096)
    assert share(limit, clients) == (clients, upstream)


def test_more_connections_than_open_files_is_refused_with_what_would_do():
    with pytest.raises(OSError, match="may have 20000: raise its limit") as caught:
        share(20_000, 60_000)
    needed = int(caught.value.strerror.split(" takes ")[1].split()[0])
    assert share(needed, 60_000).clients == 60_000


@pytest.mark.parametrize(("given", "kept"), [("off", "off"), ("-", "-"), ("~/x.log", None)])
def test_an_access_log_is_off_standard_output_or_a_file_that_a_change_of_folder_does_not_move(
    given, kept, monkeypatch
):
    assert ServerSettings().access_log == "off"
    monkeypatch.setenv("PORTICO_ACCESS_LOG", given)
    assert ServerSettings().access_log == (kept or str(Path.home() / "x.log"))
    assert ServerSettings(access_log="logs/x.log").access_log == str(Path.cwd() / "logs/x.log")
