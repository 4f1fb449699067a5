"""Sets Portico up in this checkout and runs it: ``python3 bootstrap.py serve|test``.

Needs nothing but Python 3.11 or later. Everything goes into ``.venv`` here, pinned by ``constraints.txt``.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
USAGE = """usage: python3 bootstrap.py serve [FILE]   install, then `portico serve` (default: examples/hello.py)
       python3 bootstrap.py test [ARG …]   install with the test tools, then run the tests
       python3 bootstrap.py install        install only"""


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what says so
        sys.exit(f"error: Portico needs Python 3.11 or later, this is {sys.version.split()[0]}")
    match arguments:
        case ["serve", *rest]:
            install("serve")
            run_in_place("portico", "serve", *(rest or [str(ROOT / "examples" / "hello.py")]))
        case ["test", *rest]:
            install("test")
            os.chdir(ROOT)
            run_in_place("pytest", *rest)
        case ["install"]:
            install("test")
        case _:
            sys.exit(USAGE)


def install(purpose: str) -> None:
    """Bring ``.venv`` to what the checkout asks for; does nothing where it is that already."""
    inputs = [CONSTRAINTS, ROOT / "pyproject.toml", Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    wanted = f"{digest} {purpose} {sys.version}"
    marker = VENV / "bootstrapped"
    if marker.is_file() and wanted in marker.read_text().splitlines():
        return
    say("setting up .venv")
    make_venv()
    uv = install_uv()
    tools = (
        ["--group", "dev", str(ROOT / "packaging" / "portico-modal")] if purpose == "test" else []
    )
    say("installing Portico" + (" and the test tools" if tools else ""))
    options = ["--quiet", "--python", str(PYTHON), "--constraints", str(CONSTRAINTS)]
    check(
        str(uv), "pip", "install", "--compile-bytecode", *options, "--editable", str(ROOT), *tools
    )
    marker.write_text(f"{wanted}\n{digest} serve {sys.version}\n")


def make_venv() -> None:
    """An environment with pip; on Debian pip's seed is a package of its own."""
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    if not (VENV / "bin" / "pip").exists():
        venv.create(VENV, with_pip=True, clear=VENV.exists())


def install_ensurepip() -> None:
    """Have the system install what it left out of its Python."""
    package = f"python3.{sys.version_info.minor}-venv"
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if shutil.which("apt-get") is None or (sudo and shutil.which("sudo") is None):
        sys.exit(
            "error: this Python cannot make environments: its module ensurepip is missing\n"
            f"Install the system's package for it ({package} on Debian), then run this again."
        )
    say(f"installing the system package {package}, which this Python needs to make environments")
    check(*sudo, "apt-get", "update", "-qq")
    check(*sudo, "apt-get", "install", "-y", "-qq", package)


def install_uv() -> Path:
    """The pinned uv, checked against the pinned hashes; it installs and checks everything else."""
    pin = re.search(r"^uv==.*\n(?:[ #].*\n)*", CONSTRAINTS.read_text(), re.MULTILINE)
    if pin is None:
        sys.exit("error: constraints.txt has no pin for uv")
    requirement = VENV / "uv-requirement.txt"
    requirement.write_text(pin[0])
    pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    check(*pip, "--requirement", str(requirement))
    return VENV / "bin" / "uv"


def check(*command: str) -> None:
    """Run a step of the set-up; its failure ends this program."""
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(f"error: `{' '.join(command)}` failed with status {status}; see above")


def run_in_place(command: str, *arguments: str) -> None:
    """Become `command`, so that signals and the exit status are its own."""
    program = VENV / "bin" / command
    os.execv(program, [str(program), *arguments])


def say(text: str) -> None:
    """Tell what goes on, aside from the output of what is run."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
