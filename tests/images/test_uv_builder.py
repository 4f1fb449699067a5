"""Real environments with real packages."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from portico.images.base import BuildError
from portico.images.builder import Blobs, UvBuilder
from portico.wire.image import (
    AddFiles,
    AptInstall,
    DebianSlim,
    Env,
    FileEntry,
    ImageEnvironment,
    ImageSpec,
    PipInstall,
    Workdir,
)

Watch = Callable[[int], Callable[[], bool]]

SERVER = """
import asyncio, os, sys
from pathlib import Path
import msgspec
from portico.images.builder import UvBuilder
from portico.wire.image import ImageSpec

spec = msgspec.json.decode(sys.argv[3], type=ImageSpec)
builder = UvBuilder(Path(sys.argv[1]), blobs=Path(sys.argv[2]).joinpath)
environment = asyncio.run(builder.build(spec, lambda line: print(line, flush=True)))
print(msgspec.json.encode(environment).decode())
"""


def image(*packages: str, python: str | None = None) -> ImageSpec:
    return ImageSpec(base=DebianSlim(python_version=python), steps=(PipInstall(packages=packages),))


def build(builder: UvBuilder, spec: ImageSpec) -> tuple[ImageEnvironment, list[str]]:
    log: list[str] = []
    return asyncio.run(builder.build(spec, log.append)), log


def failure(builder: UvBuilder, spec: ImageSpec) -> BuildError:
    with pytest.raises(BuildError) as failed:
        build(builder, spec)
    assert builder.cached(spec) is None
    return failed.value


def evaluate(environment: ImageEnvironment, expression: str) -> Any:
    """The value of `expression` in the environment, with the runner's folders behind it as in a container."""
    script = (
        f"import sys; sys.path += {list(environment.runner_path)!r}\n"
        f"import importlib, importlib.metadata, json; print(json.dumps({expression}))"
    )
    done = subprocess.run(
        [environment.python, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def version_of(environment: ImageEnvironment, package: str) -> str:
    return str(evaluate(environment, f"importlib.metadata.version({package!r})"))


def test_two_images_have_two_versions_of_one_package(builder: UvBuilder) -> None:
    old, log = build(builder, image("idna==3.4"))
    new, _ = build(builder, image("idna==3.7", "six"))
    assert (version_of(old, "idna"), version_of(new, "idna")) == ("3.4", "3.7")
    assert old.python != new.python
    assert "==> pip_install(idna==3.4)" in log
    assert " + idna==3.4" in log


def test_the_default_python_is_the_servers_own(builder: UvBuilder) -> None:
    environment, _ = build(builder, ImageSpec())
    assert evaluate(environment, "sys.version_info[:3]") == list(sys.version_info[:3])


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_another_python_of_this_machine_is_found_even_if_it_is_not_active(
    builder: UvBuilder, version: str
) -> None:
    installed = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions").glob(f"{version}.*")
    if not any(installed):
        pytest.skip(f"pyenv has no Python {version} on this machine")
    environment, _ = build(builder, image("six", python=version))
    major, minor = map(int, version.split("."))
    assert evaluate(environment, "sys.version_info[:2]") == [major, minor]
    assert evaluate(environment, "importlib.import_module('portico.wire.image').__name__")


def test_a_python_that_is_not_here_is_an_error_that_says_what_is(builder: UvBuilder) -> None:
    error = failure(builder, image("six", python="3.99"))
    assert "There is no Python 3.99 on this machine" in error.message
    assert ".".join(map(str, sys.version_info[:3])) in error.message


def test_everything_is_compiled_even_if_the_server_writes_no_bytecode(
    shared_root: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(shared_root, environ={**build_environ, "PYTHONDONTWRITEBYTECODE": "1"})
    environment, _ = build(builder, image("iniconfig"))
    for module in ("iniconfig", "uvicorn"):
        cached = f"importlib.util.cache_from_source(importlib.import_module({module!r}).__file__)"
        assert Path(evaluate(environment, cached)).exists()


def test_the_runner_layer_has_all_it_needs_and_stands_behind_the_users_packages(
    builder: UvBuilder,
) -> None:
    bare, _ = build(builder, image("six"))
    modules = [
        "uvicorn",
        "httptools",
        "uvloop",
        "websockets",
        "msgspec",
        "cloudpickle",
        "portico.wire",
    ]
    files = evaluate(bare, f"[importlib.import_module(name).__file__ for name in {modules}]")
    assert all(file.startswith(bare.runner_path) for file in files)
    own, log = build(builder, image("cloudpickle==3.1.0"))
    assert evaluate(own, "importlib.import_module('cloudpickle').__version__") == "3.1.0"
    assert own.runner_path == bare.runner_path
    assert "==> installing Portico's runner" not in log


def test_the_layer_shows_portico_by_both_names_and_nothing_beside_it(builder: UvBuilder) -> None:
    environment, _ = build(builder, image("six"))
    assert set(os.listdir(environment.runner_path[-1])) - {"__pycache__"} == {"portico", "modal.py"}


def test_any_interpreter_of_a_container_finds_portico_behind_the_image_s_own(
    builder: UvBuilder,
) -> None:
    environment, _ = build(builder, image("cloudpickle==3.1.0"))
    script = (
        "import cloudpickle, modal, modal.exception, portico, sys\n"
        "print(cloudpickle.__version__, modal is portico)"
    )
    variables = {"PORTICO_RUNNER_PATH": os.pathsep.join(environment.runner_path)}
    command = [environment.python, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    assert done.stdout == "3.1.0 True\n"
    outside = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert "No module named 'modal'" in outside.stderr


def test_steps_see_the_variables_and_files_of_earlier_steps(
    shared_root: Path, build_environ: dict[str, str], blobs: Any
) -> None:
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "local"\nversion = "1"\n'
    )
    backend = (
        "import os, zipfile\n"
        "def build_wheel(directory, settings=None, metadata=None):\n"
        "    name = 'local-1-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:\n"
        "        wheel.writestr('local.py', 'environ = ' + repr(dict(os.environ)))\n"
        "        info = 'local-1.dist-info/'\n"
        "        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: local\\nVersion: 1\\n')\n"
        "        wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        wheel.writestr(info + 'RECORD', '')\n"
        "    return name\n"
    )
    files = (
        blobs.add("/root/src/local/pyproject.toml", project),
        blobs.add("src/local/backend.py", backend),
    )
    spec = ImageSpec(
        steps=(
            Env(variables={"FLAVOUR": "early"}),
            AddFiles(files=files, copy=True),
            Workdir(path="/root/src"),
            PipInstall(packages=("./local",), requirements="iniconfig\n# a comment\n"),
            Env(variables={"FLAVOUR": "late"}),
        )
    )
    environ = {**build_environ, "PORTICO_TOKEN": "secret"}
    environment, _ = build(UvBuilder(shared_root, blobs=blobs, environ=environ), spec)
    seen = evaluate(environment, "importlib.import_module('local').environ")
    assert seen["FLAVOUR"] == "early"
    assert "secret" not in seen.values()
    assert version_of(environment, "iniconfig")


def test_a_file_to_copy_that_was_never_uploaded_is_named(
    shared_root: Path, build_environ: dict[str, str], tmp_path: Path
) -> None:
    files = (FileEntry(path="data.txt", sha256="0" * 64, size=1),)
    spec = ImageSpec(steps=(AddFiles(files=files, copy=True),))
    builder = UvBuilder(shared_root, blobs=tmp_path.joinpath, environ=build_environ)
    assert "data.txt" in failure(builder, spec).message


def test_a_package_that_does_not_exist_fails_with_what_uv_said(builder: UvBuilder) -> None:
    error = failure(builder, image("portico-no-such-package-7351"))
    assert error.message.startswith("pip_install(portico-no-such-package-7351) failed: ")
    assert "not found" in error.message
    assert 0 < len(error.log.splitlines()) <= 40
    assert "portico-no-such-package-7351" in error.log


def test_a_failed_build_leaves_its_log_and_can_be_repeated(
    tmp_path: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(tmp_path, environ=build_environ)
    wheels = tmp_path / "wheels"
    spec = ImageSpec(
        steps=(PipInstall(packages=("six",), extra_options=f"--no-index --find-links {wheels}"),)
    )
    wheels.mkdir()
    failure(builder, spec)
    (log_file,) = (tmp_path / spec.image_id).rglob("build.log")
    assert "six" in log_file.read_text()
    assert not list(tmp_path.rglob("content"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "zipfile",
            "-c",
            str(wheels / "six-9-py3-none-any.whl"),
            *_wheel(tmp_path),
        ],
        check=True,
    )
    environment, _ = build(builder, spec)
    assert version_of(environment, "six") == "9"


def _wheel(folder: Path) -> list[str]:
    info = folder / "six-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: six\nVersion: 9\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "RECORD").write_text("")
    return [str(info)]


def test_what_is_refused_is_refused_before_anything_is_built(
    tmp_path: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(tmp_path / "images", environ=build_environ)
    spec = ImageSpec(steps=(PipInstall(packages=("six",)), AptInstall(packages=("curl",))))
    assert "filesystem of its own" in failure(builder, spec).message
    assert not (tmp_path / "images").exists()


def test_a_file_out_of_reach_is_refused_although_the_same_recipe_without_it_is_cached(
    builder: UvBuilder,
) -> None:
    files = (FileEntry(path="/etc/motd", sha256="0" * 64, size=1),)
    good = image("six")
    bad = ImageSpec(base=good.base, steps=(*good.steps, AddFiles(files=files)))
    build(builder, good)
    assert bad.digest() == good.digest()
    assert "/etc/motd" in failure(builder, bad).message


def test_a_cached_image_starts_no_process(
    builder: UvBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = image("six")
    built, _ = build(builder, spec)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    assert builder.cached(spec) == built
    assert build(builder, spec) == (built, [])


def test_an_image_whose_interpreter_was_removed_is_built_again(
    tmp_path: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(tmp_path, environ=build_environ)
    spec = image("six")
    built, _ = build(builder, spec)
    Path(built.python).unlink()
    Path(built.python).symlink_to(tmp_path / "gone")
    assert builder.cached(spec) is None
    assert build(builder, spec)[0] == built
    assert evaluate(built, "1") == 1


def test_an_image_whose_runner_layer_is_missing_gets_a_new_one(
    tmp_path: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(tmp_path, environ=build_environ)
    spec = image("six")
    built, _ = build(builder, spec)
    shutil.rmtree(tmp_path / "runner")
    assert builder.cached(spec) is None
    again, log = build(builder, spec)
    assert again == built
    assert "==> installing Portico's runner" in log
    assert evaluate(built, "importlib.import_module('uvicorn').__name__") == "uvicorn"


def test_two_servers_that_share_a_folder_build_once(
    tmp_path: Path, build_environ: dict[str, str]
) -> None:
    spec = image("six", "idna==3.7")

    async def scenario() -> None:
        builders = [UvBuilder(tmp_path, environ=build_environ) for _ in range(3)]
        logs: list[list[str]] = [[] for _ in builders]
        pairs = zip(builders, logs, strict=True)
        results = await asyncio.gather(*(b.build(spec, log.append) for b, log in pairs))
        assert len(set(map(str, results))) == 1
        # The one that built shows uv making the environment; so do the others, from its log.
        assert all("==> pip_install(six, idna==3.7)" in log for log in logs)
        waited = [log[0].startswith("Waiting") for log in logs]
        assert sorted(waited) == [False, True, True]

    asyncio.run(scenario())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk too small for any environment with packages in it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "portico-test", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing_valid(
    tiny_disk: Path, build_environ: dict[str, str]
) -> None:
    builder = UvBuilder(tiny_disk / "images", environ=build_environ)
    error = failure(builder, image("fonttools"))
    assert error.message.startswith("pip_install(fonttools) failed: the disk mounted at ")
    assert str(tiny_disk) in error.message
    assert "No space left on device" in error.log
    assert not list((tiny_disk / "images").rglob("content"))


def _write_some(file: io.RawIOBase) -> int:
    try:
        return file.write(b"x" * 4096) or 0
    except OSError:
        return 0


def test_a_disk_too_full_to_begin_is_named(tiny_disk: Path, build_environ: dict[str, str]) -> None:
    with (tiny_disk / "filler").open("wb", buffering=0) as filler:
        filled = 0
        while (written := _write_some(filler)) > 0:
            filled += written
    assert filled > 0
    error = failure(UvBuilder(tiny_disk / "images", environ=build_environ), image("six"))
    assert f"the disk mounted at {tiny_disk} is full" in error.message


async def appearing(path: Path) -> list[int]:
    """The process ids in `path`, as soon as it is there."""
    while not path.exists():
        await asyncio.sleep(0.02)
    return [int(word) for word in path.read_text().split()]


def test_closing_ends_a_build_and_every_process_of_it(
    tmp_path: Path,
    build_environ: dict[str, str],
    blobs: Blobs,
    endless: tuple[AddFiles, Path],
    watch: Watch,
) -> None:
    files, pids = endless
    spec = ImageSpec(steps=(files, PipInstall(packages=("./endless",))))

    async def scenario() -> None:
        builder = UvBuilder(tmp_path / "images", blobs=blobs, environ=build_environ)
        waiter = asyncio.create_task(builder.build(spec, lambda line: None))
        running = [watch(pid) for pid in await asyncio.wait_for(appearing(pids), 60)]
        await asyncio.wait_for(builder.close(), 60)
        with pytest.raises(BuildError, match="server stops"):
            await waiter
        assert len(running) == 2
        assert all(gone() for gone in running)
        assert builder.cached(spec) is None

    asyncio.run(scenario())


def test_a_killed_server_leaves_no_build_process_and_the_next_one_builds_anew(
    tmp_path: Path,
    build_environ: dict[str, str],
    blobs: Any,
    endless: tuple[AddFiles, Path],
    watch: Watch,
) -> None:
    files, pids = endless
    spec = ImageSpec(steps=(files, PipInstall(packages=("./endless",))))
    root = tmp_path / "images"
    arguments = [str(root), str(blobs.folder), msgspec.json.encode(spec).decode()]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, *arguments], env=build_environ, stdout=subprocess.PIPE
    )
    with server:
        running = [watch(pid) for pid in asyncio.run(asyncio.wait_for(appearing(pids), 60))]
        server.kill()
        assert len(running) == 2
        assert all(gone() for gone in running)
    (leftover,) = root.glob("im-*/*/content")

    builder = UvBuilder(root, blobs=blobs, environ=build_environ)
    assert builder.cached(spec) is None
    (leftover / "half-built").touch()
    # The same recipe with a backend that fails at once: what matters is that the leftovers went.
    backend = next(file for file in files.files if file.path.endswith("backend.py"))
    blobs(backend.sha256).write_text("raise SystemExit('no')")
    failure(builder, spec)
    assert not leftover.exists()
