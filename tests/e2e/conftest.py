from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from driver import ORDINARY, Portico, as_ordinary

from browser import open_browser, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Users = Callable[[], Portico]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not Path("/proc").is_dir():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="looks processes up in /proc"))


@pytest.fixture(scope="session")
def images() -> Iterator[Path]:
    """The image cache that all state folders of the session share."""
    folder = Path(tempfile.mkdtemp(prefix="portico-e2e-images-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Portico]:
    """A running server for tests that leave it as they found it."""
    with Portico(tmp_path_factory.mktemp("shared"), images) as portico:
        portico.start_server()
        yield portico


@pytest.fixture
def user(tmp_path: Path, images: Path) -> Iterator[Portico]:
    """A state folder of the test's own, without a server."""
    with Portico(tmp_path, images) as portico:
        yield portico


@pytest.fixture
def own(user: Portico) -> Portico:
    """A running server of the test's own."""
    user.start_server()
    return user


@pytest.fixture
def users(tmp_path: Path, images: Path) -> Iterator[Users]:
    """Makes as many users as a test needs."""
    with ExitStack() as stack:
        made: list[Portico] = []

        def make() -> Portico:
            portico = stack.enter_context(Portico(tmp_path / f"user{len(made)}", images))
            made.append(portico)
            return portico

        yield make


@pytest.fixture
def ordinary() -> Iterator[Portico]:
    """A user who is not root; to be used as root, on Linux."""
    with tempfile.TemporaryDirectory(prefix="portico-ordinary-") as name:
        folder = Path(name)
        with Portico(folder, None, prefix=as_ordinary()) as portico:
            portico.env["UV_CACHE_DIR"] = str(folder / "cache")
            for path in (folder, *folder.iterdir()):
                os.chown(path, ORDINARY, ORDINARY)
            yield portico


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Skips where there is none."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page of it."""
    with open_page(browser) as opened:
        yield opened
