from __future__ import annotations

import ipaddress

import pytest
from pydantic import ValidationError

from portico.server.config import ServerSettings


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
    ],
)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=name):
        ServerSettings(**{name: value})
