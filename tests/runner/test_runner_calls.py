from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle

from containers import Machine, Watcher, run
from portico.engines.local import LocalContainer
from portico.wire.container import Call, CallResult
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import MethodSpec

CODE = """
    import asyncio, portico
    from portico.context import current_function_call_id, current_input_id
    app = portico.App("tests")

    @app.cls()
    class C:
        @portico.method()
        def add(self, a, b=1):
            return a + b

        @portico.method()
        async def ids(self):
            return [current_input_id(), current_function_call_id(), portico.is_local()]

        @portico.method()
        def ids_on_thread(self):
            return [current_input_id(), current_function_call_id()]

        @portico.method()
        def fail(self):
            raise KeyError("missing")

        @portico.method()
        def lock(self):
            import threading
            return threading.Lock()

        @portico.method()
        async def forever(self):
            print("running")
            await asyncio.sleep(600)
"""
NAMES = ("add", "ids", "ids_on_thread", "fail", "lock", "forever")


async def called(
    container: LocalContainer, watcher: Watcher, method: str, *args: Any, **kwargs: Any
) -> CallResult:
    number = len(watcher.results) + 1
    payload = cloudpickle.dumps((args, kwargs))
    container.call(Call(input=number, call_id=f"fc-{number}", method=method, payload=payload))
    await watcher.until_ended(number)
    (result,) = (r for r in watcher.results if r.input == number)
    return result


def test_calls_return_values_or_exceptions(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            methods = tuple(MethodSpec(name=name) for name in NAMES)
            container, watcher = await machine.ready(
                bare, CODE, qualname="C", is_class=True, methods=methods
            )
            assert watcher.ready_message is not None
            assert watcher.ready_message.addresses == {}
            result = await called(container, watcher, "add", 1, b=5)
            assert result.ok
            assert cloudpickle.loads(result.payload) == 6
            result = await called(container, watcher, "ids")
            assert cloudpickle.loads(result.payload) == ["in-2", "fc-2", False]
            result = await called(container, watcher, "ids_on_thread")
            assert cloudpickle.loads(result.payload) == ["in-3", "fc-3"]
            result = await called(container, watcher, "fail")
            assert not result.ok
            assert isinstance(cloudpickle.loads(result.payload), KeyError)
            assert "KeyError: 'missing'" in result.error
            assert "runner" not in result.error
            result = await called(container, watcher, "lock")
            assert not result.ok
            assert "cannot be pickled" in result.error
            result = await called(container, watcher, "nothing")
            assert not result.ok
            assert "nothing" in result.error

    run(main())


def test_a_cancelled_call_ends(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            methods = tuple(MethodSpec(name=name) for name in NAMES)
            container, watcher = await machine.ready(
                bare, CODE, qualname="C", is_class=True, methods=methods
            )
            payload = cloudpickle.dumps(((), {}))
            container.call(Call(input=9, call_id="fc-9", method="forever", payload=payload))
            await machine.logs.until("running")
            container.cancel([9])
            await watcher.until_ended(9)
            assert [(r.ok, r.error) for r in watcher.results] == [(False, "cancelled")]

    run(main())


def test_a_plain_function_is_called_by_its_empty_name(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import portico
        app = portico.App("tests")

        @app.function()
        def f(x):
            return x * 2
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, code, kind=None)
            result = await called(container, watcher, "", "ab")
            assert cloudpickle.loads(result.payload) == "abab"

    run(main())
