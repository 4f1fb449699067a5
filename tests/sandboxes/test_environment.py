"""Variables of containers."""

from __future__ import annotations

from portico.sandboxes.environment import base_variables
from portico.server.config import ServerSettings
from portico.wire.image import ImageEnvironment


def test_a_container_is_given_no_variable_that_a_server_in_it_would_read() -> None:
    environment = ImageEnvironment(image_id="im-1", python="/env/bin/python", runner_path=())
    given = base_variables(environment, "c00k1e", {"PORTICO_SANDBOX": "auto"})
    settings = {f"PORTICO_{name.upper()}" for name in ServerSettings.model_fields}
    assert settings.isdisjoint(given)
