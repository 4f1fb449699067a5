"""Image recipes, and the environment that a finished build leaves behind."""

from __future__ import annotations

import hashlib
from typing import Union

import msgspec


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file that travels by content. `path` is where it lands, POSIX style and never with ``..``.

    A relative path is relative to the container's working folder; ``/root/…`` means the same folder,
    because that is where the reference puts a user's files.
    """

    path: str
    sha256: str
    size: int
    executable: bool = False


class DebianSlim(msgspec.Struct, frozen=True, tag="debian_slim", kw_only=True):
    """The default base. `python_version` is ``"3.12"`` or ``"3.12.4"``; None means the server's own."""

    python_version: str | None = None


class Registry(msgspec.Struct, frozen=True, tag="registry", kw_only=True):
    """An image pulled from a container registry (docker sandbox only)."""

    tag: str
    add_python: str | None = None
    setup_dockerfile_commands: tuple[str, ...] = ()


class Dockerfile(msgspec.Struct, frozen=True, tag="dockerfile", kw_only=True):
    """An image built from the text of a Dockerfile (docker sandbox only)."""

    text: str
    context: tuple[FileEntry, ...] = ()
    add_python: str | None = None


class PipInstall(msgspec.Struct, frozen=True, tag="pip_install", kw_only=True):
    """Packages from an index: requirement specifiers, and/or the text of a requirements file."""

    packages: tuple[str, ...] = ()
    requirements: str | None = None
    index_url: str | None = None
    extra_index_url: str | None = None
    find_links: str | None = None
    pre: bool = False
    extra_options: str = ""


class AptInstall(msgspec.Struct, frozen=True, tag="apt_install", kw_only=True):
    """Debian packages (docker sandbox only)."""

    packages: tuple[str, ...]


class RunCommands(msgspec.Struct, frozen=True, tag="run_commands", kw_only=True):
    """Shell commands run while the image is built (docker sandbox only)."""

    commands: tuple[str, ...]


class DockerfileCommands(msgspec.Struct, frozen=True, tag="dockerfile_commands", kw_only=True):
    """Raw Dockerfile lines (docker sandbox only)."""

    commands: tuple[str, ...]
    context: tuple[FileEntry, ...] = ()


class Env(msgspec.Struct, frozen=True, tag="env", kw_only=True):
    """Environment variables of every container of the image, and of later build steps."""

    variables: dict[str, str]


class Workdir(msgspec.Struct, frozen=True, tag="workdir", kw_only=True):
    """The working folder of containers."""

    path: str


class Entrypoint(msgspec.Struct, frozen=True, tag="entrypoint", kw_only=True):
    """The image's entrypoint (docker sandbox only)."""

    command: tuple[str, ...]


class Cmd(msgspec.Struct, frozen=True, tag="cmd", kw_only=True):
    """The image's default command (docker sandbox only)."""

    command: tuple[str, ...]


class AddFiles(msgspec.Struct, frozen=True, tag="add_files", kw_only=True):
    """Local files placed in the container's folder. `copy` asks for them at build time as well."""

    files: tuple[FileEntry, ...]
    copy: bool = False


Base = Union[DebianSlim, Registry, Dockerfile]
Step = Union[
    PipInstall, AptInstall, RunCommands, DockerfileCommands, Env, Workdir, Entrypoint, Cmd, AddFiles
]


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe: a base and the steps upon it, in order."""

    base: Base = msgspec.field(default_factory=DebianSlim)
    steps: tuple[Step, ...] = ()

    def digest(self) -> str:
        """SHA-256 (hex) of the recipe. Files that are only mounted are not part of it."""
        steps = tuple(s for s in self.steps if not (isinstance(s, AddFiles) and not s.copy))
        canonical = msgspec.json.encode(ImageSpec(base=self.base, steps=steps), order="sorted")
        return hashlib.sha256(canonical).hexdigest()

    @property
    def image_id(self) -> str:
        """``im-`` and the first 22 hex digits of the digest."""
        return f"im-{self.digest()[:22]}"

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file the recipe adds, later ones winning by path."""
        merged = {f.path: f for s in self.steps if isinstance(s, AddFiles) for f in s.files}
        return tuple(merged.values())

    @property
    def env(self) -> dict[str, str]:
        """The recipe's environment variables, later steps winning."""
        merged: dict[str, str] = {}
        for step in self.steps:
            if isinstance(step, Env):
                merged.update(step.variables)
        return merged

    @property
    def workdir(self) -> str | None:
        """The last ``workdir`` of the recipe, if any."""
        for step in reversed(self.steps):
            if isinstance(step, Workdir):
                return step.path
        return None


RUNNER_PATH = "PORTICO_RUNNER_PATH"
"""Variable of a container's environment: `ImageEnvironment.runner_path`, for the interpreters that it starts."""


class ImageEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What a build leaves behind for the process sandbox.

    `python` is the environment's interpreter; `runner_path` the folders a container appends to
    ``sys.path`` so that the runner is found behind everything the user installed.
    """

    image_id: str
    python: str
    runner_path: tuple[str, ...]
