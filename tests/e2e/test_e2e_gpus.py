"""Functions that need a GPU which the server does not have (SPEC §6, other answers)."""

from __future__ import annotations

import pytest
from driver import Portico, get, until

from portico.server.gpus import gpus_here

APP = """
    import modal

    app = modal.App("gpus", image=IMAGE)

    @app.function(gpu="H100:64", min_containers=1)
    @modal.fastapi_endpoint()
    def page():
        return "on something"

    @app.function(gpu="H100:64")
    def plain():
        return "on something"
"""


@pytest.mark.skipif(len(gpus_here()) >= 64, reason="this machine has what the test does without")
def test_function_that_needs_a_gpu_is_503_that_says_so_and_starts_no_container(
    own: Portico,
) -> None:
    done = own("deploy", own.script("gpus.py", APP))
    said = " ".join((done.stdout + done.stderr).split())
    assert "page needs the GPU H100:64, which this server does not have" in said
    assert "--ignore-gpu" in said
    deployed = own.deploy("gpus.py", APP)  # again, over itself
    answer = get(deployed.url("page"))
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "needs the GPU H100:64" in answer.json()["detail"]
    assert own.containers("gpus") == []
    called = own("run", f"{own.work / 'gpus.py'}::plain", status=1)
    assert "needs the GPU H100:64" in called.stderr


def test_such_a_function_runs_on_the_cpu_where_the_server_ignores_gpus(user: Portico) -> None:
    user.start_server("--ignore-gpu")
    deployed = user.deploy("gpus.py", APP)
    assert get(deployed.url("page")).json() == "on something"
    until(lambda: len(user.containers("gpus", "page")) == 1, "the container that is kept")
