"""`portico serve` follows the files of its app, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from driver import Portico, Running, Stream, get, until

SCRIPT = """
    import modal
    from wares.shelf import LABEL

    app = modal.App("reload", image=IMAGE)
    NUMBER = 0

    @app.function(allow_concurrent_inputs=20)
    @modal.fastapi_endpoint()
    async def current():
        return f"{LABEL} {NUMBER}"
"""
EDITS = 50


class Serving:
    """`portico serve` on its embedded server, its script, and what it answers."""

    def __init__(self, user: Portico, *options: str) -> None:
        self.user = user
        user.script("wares/__init__.py", "")
        user.script("wares/shelf.py", "LABEL = 'jar'\n")
        self.edit(0)
        self.command: Running = user.begin("serve", "script.py", *options)
        self.app_id = self.command.until(r"ap-\w+")[0]
        self.url = self.command.until(r"http://127\.0\.0\.1:\d+")[0]
        self.command.until("Serving until")

    def edit(self, number: int, *, more: str = "") -> Path:
        return self.user.script("script.py", SCRIPT.replace("= 0", f"= {number}") + more)

    def answer(self) -> str:
        response = get(self.url)
        assert response.status_code == 200, response.text
        return str(response.json())

    def until_answers(self, text: str) -> None:
        until(lambda: self.answer() == text, f"{text!r} served")


@pytest.fixture
def serving(user: Portico) -> Serving:
    return Serving(user)


def test_fifty_edits_fail_no_request_and_the_last_one_serves(serving: Serving) -> None:
    serving.until_answers("jar 0")
    with Stream(serving.url) as requests:
        for number in range(1, EDITS + 1):
            serving.edit(number)
            if number % 5:
                requests.until_answered(10)  # so that some edits come while the former is taken in
            else:
                requests.until_answer(f'"jar {number}"')
        requests.until_answered(10)
    assert requests.failures == []
    assert requests.last == f'"jar {EDITS}"'
    apps = serving.user.json("app", "list")
    assert [app["app_id"] for app in apps] == [serving.app_id]
    assert serving.url in apps[0]["functions"][0]["urls"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("    def half(:", "SyntaxError"),
        ('    raise LookupError("nowhere to be found")', "LookupError: nowhere to be found"),
        (
            '    assert modal.is_local(), "not in the container"',
            "AssertionError: not in the container",
        ),
    ],
    ids=["syntax", "import", "import in the container"],
)
def test_a_version_that_fails_leaves_the_last_good_one(
    serving: Serving, line: str, error: str
) -> None:
    serving.until_answers("jar 0")
    with Stream(serving.url) as requests:
        serving.edit(1, more=f"{line}\n")
        serving.command.until("The last good version goes on serving")
        requests.until_answered(10)
    assert requests.failures == []
    assert serving.answer() == "jar 0"
    shown = serving.command.output
    assert error in shown
    assert "script.py" in shown
    assert "defect" not in shown
    serving.edit(2)
    serving.until_answers("jar 2")


def touch(serving: Serving) -> None:
    os.utime(serving.user.work / "script.py")
    os.utime(serving.user.work / "wares" / "shelf.py")


def swap_files(serving: Serving) -> None:
    for name in (".script.py.swp", "script.py~", ".#script.py", "4913", "wares/.shelf.py.swx"):
        path = serving.user.work / name
        path.write_text("NUMBER = 1")
        path.unlink()
    (serving.user.work / "other.py").write_text("NUMBER = 1")


def save_the_same(serving: Serving) -> None:
    new = serving.user.work / "script.py.new"
    new.write_text((serving.user.work / "script.py").read_text())
    new.replace(serving.user.work / "script.py")


def reloads(serving: Serving) -> list[str]:
    """What each reload so far says it was made by."""
    output = serving.command.output.splitlines()
    return [line.rpartition(" s ")[2] for line in output if line.startswith("Reloaded")]


def test_only_a_change_of_the_apps_own_files_reloads(serving: Serving) -> None:
    for number, disturb in enumerate((touch, swap_files, save_the_same)):
        disturb(serving)
        # What is reported next must be this edit alone, of a module that the script imports.
        serving.user.script("wares/shelf.py", f"LABEL = '{disturb.__name__}'\n")
        serving.until_answers(f"{disturb.__name__} 0")
        serving.command.until(r"(?:Reloaded[^\0]*)" * (number + 1))
    assert reloads(serving) == ["(shelf.py)"] * 3


def test_no_reload_serves_on_what_was_there(users: Callable[[], Portico]) -> None:
    still, following = Serving(users(), "--no-reload"), Serving(users())
    for serving in (still, following):
        serving.edit(1)
    following.until_answers("jar 1")  # had the other one followed, it would have by now, too
    assert still.answer() == "jar 0"
    assert "Reloaded" not in still.command.output


def test_the_url_is_the_same_at_the_next_serve(serving: Serving) -> None:
    serving.command.end()
    with pytest.raises(httpx.ConnectError):
        get(serving.url)
    again = serving.user.begin("serve", "script.py")
    assert again.until(r"http://127\.0\.0\.1:\d+")[0] == serving.url
