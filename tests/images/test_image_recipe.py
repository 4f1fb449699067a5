"""What the process sandbox refuses, and how steps become arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.images.base import BuildError
from portico.images.recipe import describe, index_variables, pip_arguments, place, refuse
from portico.images.uv import reason
from portico.wire.image import (
    AddFiles,
    AptInstall,
    Base,
    Cmd,
    DebianSlim,
    Dockerfile,
    DockerfileCommands,
    Entrypoint,
    Env,
    FileEntry,
    ImageSpec,
    PipInstall,
    Registry,
    RunCommands,
    Step,
    Workdir,
)


def file_at(path: str) -> AddFiles:
    return AddFiles(files=(FileEntry(path=path, sha256="0" * 64, size=1),))


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (Registry(tag="debian:12"), ["filesystem of its own", "debian_slim"]),
        (Dockerfile(text="FROM scratch"), ["filesystem of its own", "debian_slim"]),
        (AptInstall(packages=("curl",)), ["filesystem of its own", "pip_install"]),
        (RunCommands(commands=("true",)), ["filesystem of its own", "pip_install"]),
        (DockerfileCommands(commands=("RUN true",)), ["filesystem of its own", "pip_install"]),
        (Entrypoint(command=("sh",)), ["filesystem of its own", "@enter()"]),
        (Cmd(command=("sh",)), ["filesystem of its own", "Leave it out"]),
        (DebianSlim(python_version="3.9"), ["3.10 or later", "debian_slim(python_version="]),
        (DebianSlim(python_version="2.7.18"), ["3.10 or later"]),
        (DebianSlim(python_version="../../etc"), ['write "3.12"']),
        (file_at("/etc/passwd"), ["/etc/passwd", "relative", "/root"]),
        (file_at("/root/../etc/passwd"), ["relative"]),
        (file_at("../up"), ["relative"]),
        (Workdir(path="/no/such/folder"), ["/no/such/folder", "relative", "/root"]),
        (Env(variables={"A=B": "c"}), ["A=B"]),
        (Env(variables={"A": "\0"}), ["NUL"]),
        (PipInstall(packages=("six",), extra_options="--index 'x"), ["extra_options", "quotes"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_process_cannot_have_is_refused_with_what_to_do(
    part: Base | Step, instead: list[str]
) -> None:
    if isinstance(part, DebianSlim | Registry | Dockerfile):
        spec = ImageSpec(base=part)
    else:
        spec = ImageSpec(steps=(PipInstall(packages=("six",)), part))
    with pytest.raises(BuildError) as refused:
        refuse(spec)
    for text in instead:
        assert text in refused.value.message
    assert "--sandbox" not in refused.value.message  # there is no other one to choose


def test_what_it_can_have_is_not_refused(tmp_path: Path) -> None:
    steps = (
        PipInstall(packages=("six",), extra_options="--no-deps"),
        file_at("data/x.txt"),
        file_at("/root/x.txt"),
        Workdir(path="work"),
        Workdir(path="/root/work"),
        Workdir(path=str(tmp_path)),
        Env(variables={"A": "a=b"}),
    )
    refuse(ImageSpec(steps=steps))
    refuse(ImageSpec(base=DebianSlim(python_version="3.10")))


def test_root_means_the_containers_own_folder() -> None:
    own = Path("/own")
    assert place(own, "/root/a/b") == place(own, "a/b") == Path("/own/a/b")
    assert place(own, "/root") == place(own, ".") == own
    assert place(own, "/rooted") is None


def test_every_option_of_pip_install_is_honoured() -> None:
    step = PipInstall(
        packages=("six", "idna==3.4"),
        requirements="iniconfig",
        find_links="/wheels",
        pre=True,
        extra_options="--no-deps --no-binary 'six'",
        index_url="https://a.invalid/simple",
        extra_index_url="https://b.invalid/simple",
    )
    assert pip_arguments(step, Path("/r.txt")) == [
        *("--no-deps", "--no-binary", "six"),
        *("--find-links", "/wheels", "--prerelease", "allow", "--requirements", "/r.txt"),
        *("--", "six", "idna==3.4"),
    ]
    assert index_variables(
        step, {"UV_INDEX_URL": "x", "UV_EXTRA_INDEX_URL": "https://c.invalid"}
    ) == {
        "UV_DEFAULT_INDEX": "https://a.invalid/simple",
        "UV_EXTRA_INDEX_URL": "https://c.invalid https://b.invalid/simple",
    }


def test_credentials_of_an_index_are_neither_in_arguments_nor_in_the_steps_name() -> None:
    step = PipInstall(
        packages=("six",),
        index_url="https://me:word@a.invalid",
        extra_index_url="https://me:word@b.invalid",
    )
    assert "word" not in describe(step) + " ".join(pip_arguments(step, Path("/r.txt")))


def test_the_reason_is_the_last_error_with_its_outermost_and_innermost_cause() -> None:
    output = [
        "Using Python",
        "error: first",
        "error: No solution found",
        "  cause: Because a",
        "  cause: x",
        "  cause: b",
    ]
    assert reason(output, 1) == "No solution found: Because a: b"
    boxed = [
        "  × No solution found when resolving dependencies:",
        "  ╰─▶ Because six was not found",
    ]
    assert (
        reason(boxed, 1)
        == "No solution found when resolving dependencies: Because six was not found"
    )
    assert reason(["one", "two", ""], 2) == "two"
    assert reason([], 2) == "uv ended with 2"
    assert "signal 9" in reason(["Resolved 1 package"], 137)
    assert len(reason(["error: " + "x" * 5000], 1)) == 600
