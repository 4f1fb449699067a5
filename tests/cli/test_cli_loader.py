from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from portico.cli.loader import imported_frameworks
from portico.cli.loading import LoaderProcess, LoadError, blobs_of
from portico.cli.messages import Loaded, LoadFailed

Work = Callable[[LoaderProcess], Awaitable[Any]]


def with_loader(work: Work) -> Any:
    async def main() -> Any:
        async with LoaderProcess() as loader:
            return await asyncio.wait_for(work(loader), 60)

    return asyncio.run(main())


def load(path: Path | str) -> Loaded:
    return with_loader(lambda loader: loader.load(str(path)))


def failure(path: Path | str) -> LoadFailed:
    with pytest.raises(LoadError) as caught:
        load(path)
    return caught.value.failure


def app(name: str = "hello", body: str = "") -> str:
    return f"import portico\n{body}\napp = portico.App({name!r})\n@app.function()\ndef f(): ...\n"


def test_a_script_becomes_a_manifest_blobs_and_files_to_watch(script: Path) -> None:
    loaded = load(script)
    assert loaded.manifest.name == "hello"
    assert [spec.name for spec in loaded.manifest.functions] == ["square", "double"]
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    assert loaded.watched == {str(script): digest}
    assert blobs_of(loaded) == {digest: script}


def test_files_of_equal_content_are_all_watched(tmp_path: Path) -> None:
    for package in ("one", "two"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    path = tmp_path / "main.py"
    path.write_text(app(body="import one, two"))
    names = {Path(file).relative_to(tmp_path).as_posix() for file in load(path).watched}
    assert names == {"main.py", "one/__init__.py", "two/__init__.py"}


def test_prints_at_import_go_to_stderr(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(script)
    out, err = capfd.readouterr()
    assert out == ""
    assert "imported" in err


def test_a_syntax_error_names_the_place_and_no_frame_of_ours(script: Path) -> None:
    script.write_text("def broken(:\n")
    failed = failure(script)
    assert failed.kind == "user"
    assert "SyntaxError" in failed.traceback
    assert "hello.py" in failed.traceback
    assert "portico/" not in failed.traceback
    assert str(script) in failed.files


def test_an_error_in_an_imported_module_makes_that_file_a_suspect(script: Path) -> None:
    helper = script.with_name("helper.py")
    helper.write_text("1 / 0\n")
    script.write_text(app(body="import helper"))
    failed = failure(script)
    assert "ZeroDivisionError" in failed.traceback
    assert {str(script), str(helper)} <= set(failed.files)


def test_a_module_still_to_be_written_is_a_suspect(script: Path) -> None:
    script.write_text(app(body="import soon"))
    assert str(script.with_name("soon.py")) in failure(script).files


def test_two_apps_in_a_file_need_a_name(script: Path) -> None:
    script.write_text(
        "import portico\none = portico.App('first')\ntwo = portico.App('second')\n"
        "@one.function()\ndef f(): ...\n@two.function()\ndef g(): ...\n"
    )
    failed = failure(script)
    assert failed.kind == "mistake"
    assert "one" in failed.message
    assert "two" in failed.message
    assert load(f"{script}::two").manifest.name == "second"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; sys.exit(3)", "could not be imported"),
        ("import os; os._exit(0)", "status 0"),
        ("import os; os.abort()", "signal 6"),
    ],
)
def test_a_script_that_ends_its_interpreter_is_told_apart(
    script: Path, body: str, message: str
) -> None:
    script.write_text(app(body=body))

    async def twice(loader: LoaderProcess) -> Loaded:
        with pytest.raises(LoadError, match=message):
            await loader.load(str(script))
        script.write_text(app())
        return await loader.load(str(script))

    assert with_loader(twice).manifest.name == "hello"


def test_every_load_meets_a_fresh_interpreter(script: Path) -> None:
    body = "import sys; assert not hasattr(sys, 'been_here'); sys.been_here = True"
    script.write_text(app(body=body))

    async def thrice(loader: LoaderProcess) -> None:
        for _ in range(3):
            await loader.load(str(script))

    with_loader(thrice)


def test_an_edit_of_the_same_second_and_size_is_loaded(script: Path) -> None:
    helper = script.with_name("helper.py")

    async def edits(loader: LoaderProcess) -> list[str]:
        names = []
        for name in ("aaa", "bbb", "ccc"):
            helper.write_text(f"NAME = {name!r}\n")
            names.append((await loader.load(str(script))).manifest.name)
        return names

    script.write_text(
        "import helper, portico\napp = portico.App(helper.NAME)\n@app.function()\ndef f(): ...\n"
    )
    assert with_loader(edits) == ["aaa", "bbb", "ccc"]


def test_a_load_that_never_ends_is_superseded_by_the_next(script: Path) -> None:
    begun = script.with_name("begun")
    endless = f"import pathlib\npathlib.Path({str(begun)!r}).touch()\nwhile True: pass"
    script.write_text(app(body=endless))

    async def supersede(loader: LoaderProcess) -> Loaded:
        stuck = asyncio.create_task(loader.load(str(script)))
        while not begun.exists():
            await asyncio.sleep(0.01)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        script.write_text(app("mended"))
        return await loader.load(str(script))

    assert with_loader(supersede).manifest.name == "mended"


def test_a_loader_that_dies_is_started_again(script: Path) -> None:
    async def kill_between(loader: LoaderProcess) -> Loaded:
        await loader.load(str(script))
        assert loader._process is not None
        loader._process.kill()
        await loader._process.wait()
        with pytest.raises(LoadError, match="died"):
            await loader.load(str(script))
        return await loader.load(str(script))

    assert with_loader(kill_between).manifest.name == "hello"


def test_modal_means_portico_in_scripts(script: Path) -> None:
    script.write_text(app().replace("portico", "modal"))
    assert load(script).manifest.name == "hello"


def test_a_file_in_the_working_folder_does_not_shadow_the_loader(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.with_name("socket.py").write_text("1 / 0\n")
    monkeypatch.chdir(script.parent)
    assert load("hello.py").manifest.name == "hello"


def test_frameworks_are_seen_in_top_level_imports_only(script: Path) -> None:
    script.write_text(
        "from fastapi.responses import HTMLResponse\nimport pydantic as p\n"
        "def f():\n    import starlette\n"
    )
    assert imported_frameworks(str(script)) == ["fastapi", "pydantic"]


def test_frameworks_of_a_load_are_named(script: Path) -> None:
    script.with_name("helper.py").write_text("import fastapi\n")
    script.write_text(app(body="import helper"))
    assert load(script).frameworks == ["fastapi", "pydantic", "starlette"]
