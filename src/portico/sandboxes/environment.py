"""Which variables of the server's environment containers and zygotes get: no others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from portico.wire.container import ContainerSpec
from portico.wire.image import RUNNER_PATH, ImageEnvironment

PASSED_ON = (
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    *(
        variant
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
        for variant in (name, name.lower())
    ),
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
COOKIE = "PORTICO_SANDBOX_COOKIE"
"""In the environment of a zygote and of everything that descends from it: how strays are recognised."""


def base_variables(
    environment: ImageEnvironment, cookie: str, server: Mapping[str, str]
) -> dict[str, str]:
    """What every process of an image has: its interpreter first on PATH, the machine's proxies and locale."""
    binaries = Path(environment.python).parent
    variables = {name: server[name] for name in PASSED_ON if name in server}
    variables["PATH"] = os.pathsep.join((str(binaries), server.get("PATH") or os.defpath))
    variables["VIRTUAL_ENV"] = str(binaries.parent)
    variables[COOKIE] = cookie
    return variables


def container_variables(
    spec: ContainerSpec, folder: str, cookie: str, server: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a container; what the user declared wins."""
    return {
        **base_variables(spec.environment, cookie, server),
        "HOME": folder,
        "PYTHONUNBUFFERED": "1",
        "PORTICO_CONTAINER_ID": spec.container_id,
        "PORTICO_APP_ID": spec.app_id,
        "PORTICO_APP_NAME": spec.app_name,
        "PORTICO_ENVIRONMENT": spec.environment_name,
        "PORTICO_FUNCTION_ID": spec.function_id,
        "PORTICO_FUNCTION_NAME": spec.function.name,
        "PORTICO_IMAGE_ID": spec.environment.image_id,
        RUNNER_PATH: os.pathsep.join(spec.environment.runner_path),
        **spec.env,
    }
