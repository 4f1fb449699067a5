"""``fastapi_endpoint``: methods, documentation, browsers, dependencies, and how many at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from driver import DEADLINE, Deployed, Portico, client, get, post

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
VERBS = """
    import modal

    app = modal.App("verbs", image=IMAGE)
""" + "".join(
    f"""
    @app.function()
    @modal.fastapi_endpoint(method="{method}")
    def {method.lower()}_it(x: int = 1):
        return {{"method": "{method}", "x": x}}
"""
    for method in METHODS
)

FEATURES = """
    from __future__ import annotations

    import time
    from pathlib import Path
    from typing import Annotated, Optional

    import modal
    from fastapi import BackgroundTasks, Cookie, Depends, Header, HTTPException, Query, Response
    from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
    from pydantic import BaseModel

    app = modal.App("features", image=IMAGE)

    class Order(BaseModel):
        name: str
        pieces: list[int] = []

    def paging(page: int = 1):
        return page

    async def team(x_team: Annotated[str, Header()] = "none"):
        return x_team

    async def session():
        print("session opened")
        try:
            yield "session"
        finally:
            print("session closed")

    @app.function(allow_concurrent_inputs=4)
    @modal.fastapi_endpoint()
    def depends(
        page: Annotated[int, Depends(paging)], team: Annotated[str, Depends(team)],
        session: Annotated[str, Depends(session)], crumb: Annotated[Optional[str], Cookie()] = None,
        tag: Annotated[list[str], Query()] = ["all"],
    ):
        return [page, team, session, crumb, tag]

    @app.function()
    @modal.fastapi_endpoint(method="PUT")
    async def order(order: Order, urgent: bool = False) -> Order:
        if not order.pieces:
            raise HTTPException(409, "nothing ordered")
        return order.model_copy(update={"name": order.name.upper() if urgent else order.name})

    @app.function()
    @modal.fastapi_endpoint()
    def kinds(kind: str, response: Response):
        if kind == "text":
            return PlainTextResponse("plain", headers={"x-kind": "text"})
        if kind == "away":
            return RedirectResponse("/elsewhere")
        if kind == "stream":
            return StreamingResponse(iter(["a", "b", "c"]), media_type="text/csv")
        if kind == "none":
            return Response(status_code=204)
        response.set_cookie("kind", kind)
        raise LookupError(f"no kind {kind}")

    ended = 0

    def end_at(gate: str):
        global ended
        while not Path(gate).exists():
            time.sleep(0.01)
        ended += 1

    def ending(gate: str):
        yield
        end_at(gate)

    @app.function(max_containers=1)
    @modal.fastapi_endpoint()
    def with_a_task(gate: str, tasks: BackgroundTasks):
        tasks.add_task(end_at, gate)
        return ended

    @app.function(max_containers=1)
    @modal.fastapi_endpoint()
    def with_a_dependency(gate: str, _: Annotated[None, Depends(ending)]):
        return ended

    class Sale(BaseModel):
        amount: int

    @app.cls(allow_concurrent_inputs=4)
    class Till:
        @modal.enter()
        async def open(self):
            self.total = 100

        @modal.fastapi_endpoint(method="POST")
        async def add(self, sale: Sale):
            self.total += sale.amount
            return self.total

        @modal.fastapi_endpoint(docs=True, label="till-total")
        def total_now(self):
            return self.total
"""


@pytest.fixture(scope="module")
def features(server: Portico) -> Deployed:
    return server.deploy("features.py", FEATURES)


def test_every_method_is_served_and_no_other(server: Portico) -> None:
    verbs = server.deploy("verbs.py", VERBS)
    with client() as http:
        for method in METHODS:
            url = verbs.url(f"{method.lower()}_it")
            answer = http.request(method, url, params={"x": 2})
            assert answer.status_code == 200, method
            if method != "HEAD":
                assert answer.json() == {"method": method, "x": 2}
            other = "GET" if method != "GET" else "HEAD"
            refused = http.request(other, url)
            assert (refused.status_code, refused.headers["allow"]) == (405, method)


def test_dependencies_of_every_sort_are_resolved(features: Deployed, server: Portico) -> None:
    with client(base_url=features.url("depends"), cookies={"crumb": "c"}) as http:
        assert http.get("/").json() == [1, "none", "session", "c", ["all"]]
        many = http.get("/?page=3&tag=a&tag=b", headers={"x-team": "north"})
        assert many.json() == [3, "north", "session", "c", ["a", "b"]]
        assert http.get("/?page=x").status_code == 422
    assert "session opened" in server.until_logged("features", "session closed")


def test_models_of_a_module_with_postponed_annotations_are_validated(features: Deployed) -> None:
    url = features.url("order")
    with client() as http:
        order = {"name": "rope", "pieces": [2, 3]}
        assert http.put(url, json=order, params={"urgent": True}).json() == {
            "name": "ROPE",
            "pieces": [2, 3],
        }
        assert http.put(url, json={"name": "rope"}).json() == {"detail": "nothing ordered"}
        wrong = http.put(url, json={"name": "rope", "pieces": ["many"]})
        assert wrong.json()["detail"][0]["loc"] == ["body", "pieces", 0]


def test_responses_of_every_class_pass(features: Deployed, server: Portico) -> None:
    with client(base_url=features.url("kinds")) as http:
        text = http.get("/?kind=text")
        assert (text.text, text.headers["x-kind"]) == ("plain", "text")
        assert http.get("/?kind=away").headers["location"] == "/elsewhere"
        stream = http.get("/?kind=stream")
        assert (stream.text, stream.headers["content-type"]) == ("abc", "text/csv; charset=utf-8")
        assert (http.get("/?kind=none").status_code, http.get("/?kind=none").content) == (204, b"")
        broken = http.get("/?kind=odd")
        assert (broken.status_code, broken.text) == (500, "Internal Server Error")
    assert "raise LookupError(f" in server.until_logged("features", "LookupError: no kind odd")


@pytest.mark.parametrize("name", ["with_a_task", "with_a_dependency"])
def test_what_runs_on_a_thread_after_the_answer_holds_the_slot(
    features: Deployed, server: Portico, tmp_path: Path, name: str
) -> None:
    gate = tmp_path / "gate"
    url, parameters = features.url(name), {"gate": str(gate)}
    assert get(url, params=parameters).json() == 0
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(get, url, params=parameters)
        assert not wait([second], 0.5).done
        assert [c["running"] for c in server.containers("features", name)] == [1]
        gate.touch()
        assert second.result(DEADLINE).json() == 1


def test_endpoints_of_a_class_share_what_enter_has_set_up(features: Deployed) -> None:
    assert post(features.url("Till.add"), json={"amount": 5}).json() == 105
    assert get(features.url("Till.total_now")).json() == 105
    assert "till-total" in features.urls["Till.total_now"][0]


def test_docs_describe_the_endpoint_and_are_nowhere_else(features: Deployed) -> None:
    url = features.url("Till.total_now")
    schema = get(f"{url}/openapi.json").json()
    assert list(schema["paths"]) == ["/"]
    assert schema["info"]["title"] == "total_now"
    assert "servers" not in schema  # so that a page tries it out where it was loaded from
    assert "/openapi.json" in get(f"{url}/docs").text
    assert get(f"{url}/redoc").status_code == 200
    for path in ("docs", "redoc", "openapi.json"):
        assert get(f"{features.url('Till.add')}/{path}").status_code == 404


def test_a_preflight_wakes_the_function_and_lets_any_origin_in(own: Portico) -> None:
    app = own.deploy(
        "open.py",
        """
        import modal

        app = modal.App("open", image=IMAGE)

        @app.function()
        @modal.fastapi_endpoint(method="PUT")
        def put_it(x: int = 1):
            return 1 // x
        """,
    )
    origin = {"origin": "https://shop.example"}
    asked = {
        **origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "x-token",
    }
    assert own.containers("open") == []
    with client() as http:
        preflight = http.options(app.url("put_it"), headers=asked)
        simple = http.put(app.url("put_it"), headers=origin)
        invalid = http.put(app.url("put_it"), headers=origin, params={"x": "one"})
        broken = http.put(app.url("put_it"), headers=origin, params={"x": 0})
        plain = http.put(app.url("put_it"))
    assert preflight.status_code == 200
    assert (invalid.status_code, broken.status_code) == (422, 500)
    for answer in (preflight, simple, invalid, broken):  # a script has to see its errors, too
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "x-token"
    assert simple.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in plain.headers


CROWD = """
    import asyncio
    import os
    import pathlib
    import time
    import modal

    app = modal.App("crowd", image=IMAGE)
    MEETING = pathlib.Path("FOLDER")

    def meet(name, count):
        (MEETING / f"{name}-{os.getpid()}-{time.monotonic_ns()}").touch()
        while len(list(MEETING.glob(f"{name}-*"))) < count:
            time.sleep(0.01)
        return os.getpid()

    @app.function(allow_concurrent_inputs=3)
    @modal.fastapi_endpoint()
    def threads():
        return meet("threads", 3)

    @app.function(allow_concurrent_inputs=3)
    @modal.fastapi_endpoint()
    async def tasks():
        return await asyncio.to_thread(meet, "tasks", 3)

    @app.function()
    @modal.fastapi_endpoint()
    def apart():
        return meet("apart", 2)

    active = 0

    @app.function(max_containers=1)
    @modal.fastapi_endpoint()
    async def queued():
        global active
        active += 1
        most = active
        await asyncio.sleep(0.05)
        most = max(most, active)
        active -= 1
        return [os.getpid(), most]
"""


@pytest.fixture(scope="module")
def crowd(server: Portico, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    folder: Path = tmp_path_factory.mktemp("meeting")
    return server.deploy("crowd.py", re.sub("FOLDER", str(folder), CROWD))


def together(url: str, count: int) -> list[object]:
    with client() as http, ThreadPoolExecutor(count) as pool:
        return [answer.json() for answer in pool.map(http.get, [url] * count)]


@pytest.mark.parametrize("name", ["threads", "tasks"])
def test_concurrent_inputs_meet_in_one_container(crowd: Deployed, name: str) -> None:
    assert len(set(together(crowd.url(name), 3))) == 1


def test_without_concurrency_requests_at_once_have_containers_of_their_own(
    crowd: Deployed,
) -> None:
    assert len(set(together(crowd.url("apart"), 2))) == 2


def test_one_container_without_concurrency_takes_one_after_the_other(crowd: Deployed) -> None:
    answers = together(crowd.url("queued"), 6)
    assert len({str(answer) for answer in answers}) == 1
    assert answers[0][1] == 1  # type: ignore[index]
