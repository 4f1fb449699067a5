"""Real images, real containers: what the tests of runner, sandboxes and engines share."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uv

import portico
from portico.engines.local import LocalContainer, LocalEngine
from portico.sandboxes.process import ProcessSandbox
from portico.wire.container import (
    Address,
    CallResult,
    ContainerExit,
    ContainerSpec,
    LogLine,
    Ready,
)
from portico.wire.ids import new_id
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec, MethodSpec, Scaling, WebKind, WebSpec

T = TypeVar("T")
DEADLINE = 20.0
RUNNER = ["cloudpickle", "httptools", "msgspec", "uvicorn", "uvloop", "websockets"]


class Images:
    """Builds environments once a session, with the machine's uv."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._built: dict[tuple[str, ...], ImageEnvironment] = {}

    def get(self, *packages: str, python: str | None = None) -> ImageEnvironment:
        """An environment with `packages`, on this interpreter or on `python` (a path)."""
        interpreter = python or sys.executable
        key = (interpreter, *packages)
        if key not in self._built:
            self._built[key] = self._build(f"im-{len(self._built)}", interpreter, packages)
        return self._built[key]

    def _build(self, name: str, interpreter: str, packages: Sequence[str]) -> ImageEnvironment:
        folder = self._root / name
        run_uv("venv", "--quiet", "--python", interpreter, str(folder))
        python = str(folder / "bin" / "python")
        if packages:
            run_uv("pip", "install", "--quiet", "--compile-bytecode", "--python", python, *packages)
        layers = (str(self._runner(interpreter, python)), str(self._portico()))
        return ImageEnvironment(image_id=name, python=python, runner_path=layers)

    def _runner(self, interpreter: str, python: str) -> Path:
        layer = self._root / f"runner-{abs(hash(interpreter))}"
        if not layer.exists():
            target = ("--target", str(layer), "--python", python)
            run_uv("pip", "install", "--quiet", "--compile-bytecode", *target, *RUNNER)
        return layer

    def _portico(self) -> Path:
        layer = self._root / "portico-layer"
        if not layer.exists():
            layer.mkdir()
            (layer / "portico").symlink_to(Path(portico.__file__).parent)
        return layer


def run_uv(*arguments: str) -> None:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False, env=variables
    )
    assert done.returncode == 0, done.stderr


class Watcher:
    """A ContainerListener that can be waited for."""

    def __init__(self) -> None:
        self.ready_message: Ready | None = None
        self.exit: ContainerExit | None = None
        self.ended_inputs: list[int] = []
        self.results: list[CallResult] = []
        self.after_exit: list[str] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self, ready: Ready) -> None:
        self._note("ready")
        self.ready_message = ready

    def ended(self, inputs: Sequence[int]) -> None:
        self._note("ended")
        self.ended_inputs.extend(inputs)

    def called(self, result: CallResult) -> None:
        self._note("called")
        self.results.append(result)

    def exited(self, exit: ContainerExit) -> None:
        self._note("exited")
        self.exit = exit

    def _note(self, event: str) -> None:
        if self.exit is not None:
            self.after_exit.append(event)
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: bool(condition())), DEADLINE)

    async def until_ready(self) -> Ready:
        await self.until(lambda: self.ready_message or self.exit)
        assert self.ready_message is not None, self.exit
        return self.ready_message

    async def until_exit(self) -> ContainerExit:
        await self.until(lambda: self.exit)
        assert self.exit is not None
        return self.exit

    async def until_ended(self, *numbers: int) -> None:
        await self.until(lambda: set(numbers) <= set(self.ended_inputs))


class Logs:
    """A LogSink that can be waited for."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def __call__(self, line: LogLine) -> None:
        self.lines.append(line)

    def text(self, stream: str | None = None) -> str:
        return "\n".join(line.text for line in self.lines if stream in (None, line.stream))

    async def until(self, text: str) -> LogLine:
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.lines:
                    if text in line.text:
                        return line
                await asyncio.sleep(0.005)


class Machine:
    """A local engine over a process sandbox, and the containers started on it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.logs = Logs()
        self.sandbox = ProcessSandbox(folder / "run", self.logs, **{"stop_grace": 5.0, **options})
        self.engine = LocalEngine(self.sandbox)

    async def __aenter__(self) -> Machine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.close()

    def source(self, code: str, name: str = "user_app.py") -> str:
        root = self.folder / f"source-{new_id('x')}"
        root.mkdir(parents=True)
        (root / name).write_text(textwrap.dedent(code))
        return str(root)

    def spec(
        self,
        image: ImageEnvironment,
        code: str,
        *,
        qualname: str = "f",
        kind: WebKind | None = "fastapi_endpoint",
        methods: tuple[MethodSpec, ...] | None = None,
        is_class: bool = False,
        startup_timeout: float = 30.0,
        max_inputs: int = 1,
        web: dict[str, Any] | None = None,
        parameters: dict[str, Any] | None = None,
        **options: Any,
    ) -> ContainerSpec:
        if methods is None:
            methods = (MethodSpec(web=WebSpec(kind=kind, **(web or {})) if kind else None),)
        function = FunctionSpec(
            name=qualname,
            module="user_app",
            qualname=qualname,
            image=image.image_id,
            methods=methods,
            is_class=is_class,
            startup_timeout=startup_timeout,
            scaling=Scaling(max_inputs=max_inputs),
        )
        return ContainerSpec(
            container_id=new_id("ta"),
            app_id="ap-1",
            app_name="tests",
            function_id="fu-1",
            function=function,
            environment=image,
            source_root=self.source(code),
            parameters=parameters or {},
            **options,
        )

    def start(
        self, image: ImageEnvironment, code: str, **options: Any
    ) -> tuple[LocalContainer, Watcher]:
        watcher = Watcher()
        return self.engine.start(self.spec(image, code, **options), watcher), watcher

    async def ready(
        self, image: ImageEnvironment, code: str, **options: Any
    ) -> tuple[LocalContainer, Watcher]:
        container, watcher = self.start(image, code, **options)
        await watcher.until_ready()
        return container, watcher


def address(watcher: Watcher, method: str = "") -> Address:
    assert watcher.ready_message is not None
    return watcher.ready_message.addresses[method]


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def until_gone(*pids: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(main, 3 * DEADLINE)

    return asyncio.run(bounded())


@pytest.fixture(scope="session")
def images() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="portico-images-"))
    yield Images(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bare(images: Images) -> ImageEnvironment:
    """An image with nothing in it."""
    return images.get()


@pytest.fixture
def fastapi(images: Images) -> ImageEnvironment:
    """An image with FastAPI."""
    return images.get("fastapi", "python-multipart")
