"""Deploying over a running app: nobody notices, and a bad version never serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from driver import DEADLINE, Deployed, Portico, Stream, get, until

VERSION = """
    import asyncio
    from pathlib import Path
    import modal

    app = modal.App("NAME", image=IMAGE)

    @app.function(allow_concurrent_inputs=20)
    @modal.fastapi_endpoint()
    async def version():
        return NUMBER

    @app.function()
    @modal.fastapi_endpoint()
    async def slow(gate: str):
        print("slow begins in NUMBER")
        while not Path(gate).exists():
            await asyncio.sleep(0.01)
        return NUMBER
"""


def deploy(user: Portico, name: str, number: int, more: str = "") -> Deployed:
    text = VERSION.replace("NAME", name).replace("NUMBER", str(number)) + more
    return user.deploy(f"{name}.py", text)


def test_a_deploy_over_a_running_app_fails_no_request(server: Portico) -> None:
    first = deploy(server, "over", 1)
    gate = server.work / "over-gate"
    with ThreadPoolExecutor(1) as pool, Stream(first.url("version")) as requests:
        requests.until_answer("1")
        slow = pool.submit(get, first.url("slow"), params={"gate": str(gate)})
        server.until_logged("over", "slow begins in 1")
        second = deploy(server, "over", 2)
        requests.until_answer("2")
        requests.until_answered(20)
        assert not slow.done()
        gate.touch()
        assert slow.result(DEADLINE).json() == 1  # begun in the old version, ended in it
    assert requests.failures == []
    assert (second.version, second.app_id) == (2, first.app_id)
    assert second.urls == first.urls
    assert get(second.url("slow"), params={"gate": str(gate)}).json() == 2


def test_once_a_deploy_is_done_the_old_version_answers_no_more(server: Portico) -> None:
    url = deploy(server, "switch", 1).url("version")
    assert get(url).json() == 1
    for number in range(2, 5):
        deploy(server, "switch", number)
        assert [get(url).json() for _ in range(20)] == [number] * 20


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("never", "    raise LookupError('nothing here')\n"),
        ("away", "    if not modal.is_local(): raise LookupError('nothing here')\n"),
    ],
    ids=["locally", "in the container"],
)
def test_a_version_that_cannot_be_imported_is_refused_and_the_old_one_serves_on(
    server: Portico, name: str, line: str
) -> None:
    app = deploy(server, name, 1)
    assert get(app.url("version")).json() == 1
    text = VERSION.replace("NAME", name).replace("NUMBER", "2") + line
    with Stream(app.url("version")) as requests:
        failed = server("deploy", server.script(f"{name}.py", text), "--json", status=1)
        requests.until_answered(10)
    assert failed.stdout == ""
    assert "Traceback (most recent call last)" in failed.stderr
    assert "LookupError: nothing here" in failed.stderr
    assert f'{name}.py", line' in failed.stderr
    assert (requests.failures, requests.last) == ([], "1")
    assert server.json("app", "describe", name)["version"] == 1


def test_history_and_rollback(server: Portico) -> None:
    app = deploy(server, "past", 1)
    deploy(server, "past", 2)
    assert get(app.url("version")).json() == 2
    rolled = server.json("app", "rollback", "past")
    assert rolled["version"] == 3
    assert get(app.url("version")).json() == 1
    history = server.json("app", "history", "past")
    past = {v["version"]: (v["current"], v["rolled_back_from"]) for v in history}
    assert past == {1: (False, None), 2: (False, None), 3: (True, 1)}
    server("app", "rollback", "past", "2")
    assert get(app.url("version")).json() == 2
    assert "7" in server("app", "rollback", "past", "7", status=1).stderr


LABELLED = """
    import portico as modal

    app = modal.App("NAME", image=IMAGE)

    @app.function()
    @modal.fastapi_endpoint(label="front-desk")
    def desk():
        return "NAME"
"""


def test_a_label_of_another_deployed_app_is_refused(server: Portico) -> None:
    first = server.deploy("first.py", LABELLED.replace("NAME", "first"))
    assert first.urls["desk"][0].startswith("http://e2e--front-desk.localhost:")
    second = server.script("second.py", LABELLED.replace("NAME", "second"))
    refused = server("deploy", second, status=1)
    assert "e2e--front-desk" in refused.stderr
    assert "portico app stop first" in refused.stderr
    assert get(first.url("desk")).json() == "first"
    server("app", "stop", "first")
    server("deploy", second)
    assert get(first.url("desk")).json() == "second"  # the port belongs to the host


def test_a_stopped_app_is_a_404_and_a_new_deploy_brings_it_back(server: Portico) -> None:
    app = deploy(server, "halted", 1)
    host = {"host": app.urls["version"][0].removeprefix("http://")}
    assert get(server.web_url, headers=host).json() == 1
    stopped = server.json("app", "stop", "halted")
    assert (stopped["state"], stopped["containers"]) == ("stopped", 0)
    assert get(server.web_url, headers=host).status_code == 404
    assert get(app.url("version")).status_code == 404  # its own port, too
    again = deploy(server, "halted", 2)
    assert again.urls == app.urls
    assert get(again.url("version")).json() == 2


def test_a_new_version_serves_while_containers_of_the_old_one_drain(server: Portico) -> None:
    app = deploy(server, "drain", 1)
    gate = server.work / "drain-gate"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(get, app.url("slow"), params={"gate": str(gate)})
        server.until_logged("drain", "slow begins in 1")
        (old,) = server.containers("drain", "slow")
        deploy(server, "drain", 2)
        assert get(app.url("version")).json() == 2
        gate.touch()
        assert slow.result(DEADLINE).json() == 1
    until(
        lambda: old["container_id"] not in {c["container_id"] for c in server.containers("drain")},
        "the end of the old container",
    )
