"""What a container with a network of its own is told about names."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from containers import DEADLINE
from portico.runner import network
from portico.runner.failures import CannotServe
from portico.runner.network import reachable_names
from portico.wire.container import Network


@pytest.mark.parametrize(
    ("machine", "container"),
    [
        ("nameserver 127.0.0.53\noptions edns0\nsearch lan\n", "options edns0\nsearch lan\n"),
        ("nameserver ::1\nnameserver 127.0.0.1\n", ""),
        ("# nobody\n", "# nobody\n"),
        ("nameserver 192.0.2.1\n", None),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", None),
    ],
)
def test_only_a_resolver_on_the_loopback_is_replaced(
    tmp_path: Path, machine: str, container: str | None
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(machine)
    expected = None if container is None else f"nameserver 169.254.1.1\n{container}"
    assert reachable_names(path, "169.254.1.1") == expected


def test_a_machine_without_resolv_conf_has_nothing_to_replace(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert reachable_names(tmp_path / "dangling", "10.0.0.1") is None


def test_a_helper_that_hangs_is_given_up_with_all_that_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "PATIENCE", 0.2)
    began = time.monotonic()
    with pytest.raises(CannotServe, match="not ready within"):
        network.enter_own_network(Network(helper=("sh", "-c", f"sleep {3 * DEADLINE}; true")))
    assert time.monotonic() - began < DEADLINE
