"""Sets Portico up in this checkout and runs it: ``python3 bootstrap.py serve|test``.

Needs nothing but Python 3.11 or later. Everything goes into ``.venv`` here, pinned by ``constraints.txt``.
"""

# Every Python 3 must be able to read this file, so that the old ones can say that they are too old.
from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
HELLO = ROOT / "examples" / "hello.py"
TRUSTED = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
USAGE = """usage: python3 bootstrap.py serve [FILE]   install, then `portico serve` (default: examples/hello.py)
       python3 bootstrap.py test [ARG …]   install with the test tools, then run the tests
       python3 bootstrap.py install        install only
       python3 bootstrap.py compile        install with the request path compiled, which takes a C compiler; what
                                           is installed then does not follow the checkout until the next install"""


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what says so
        sys.exit(
            f"error: Portico needs Python 3.11 or later, and this is {sys.version.split()[0]}\n"
            "Run this with a newer one, for example: python3.13 bootstrap.py serve"
        )
    if any(map(os.path.exists, TRUSTED)):
        # uv brings certificates of its own, which know no company's proxy; Portico's image builds inherit this.
        os.environ.setdefault("UV_SYSTEM_CERTS", "1")
    purpose, *rest = arguments or [""]
    if purpose == "serve":
        install("serve")
        run_in_place("portico", "serve", *(rest or [str(HELLO)]))
    elif purpose == "test":
        install("test")
        os.chdir(ROOT)
        run_in_place("pytest", *rest)
    elif arguments == ["install"]:
        install("test")
    elif arguments == ["compile"]:
        install("test")
        compile_request_path()
    else:
        sys.exit(USAGE)


def install(purpose: str) -> None:
    """Bring ``.venv`` to what the checkout asks for; does nothing where it is that already."""
    inputs = [CONSTRAINTS, ROOT / "pyproject.toml", Path(__file__)]
    contents = b"".join(path.read_bytes() for path in inputs)
    digest = hashlib.sha256(contents + bytes(ROOT)).hexdigest()
    wanted = f"{digest} {purpose} {sys.version}"
    marker = VENV / "bootstrapped"
    checkout = os.open(ROOT, os.O_RDONLY)
    # A second set-up waits for the first one here, and then finds its work done.
    fcntl.flock(checkout, fcntl.LOCK_EX)
    if not (marker.is_file() and wanted in marker.read_text().splitlines()):
        set_up(purpose, marker)
        marker.write_text(f"{wanted}\n{digest} serve {sys.version}\n")
    os.close(checkout)


def set_up(purpose: str, marker: Path) -> None:
    """Make the environment and install into it; what an interrupted set-up left is mended or replaced."""
    say("setting up .venv")
    marker.unlink(missing_ok=True)
    make_venv()
    uv = install_uv()
    tools = (
        ["--group", "dev", str(ROOT / "packaging" / "portico-modal")] if purpose == "test" else []
    )
    say("installing Portico" + (" and the test tools" if tools else ""))
    pip_install(uv, "--editable", str(ROOT), *tools)


def pip_install(uv: Path, *what: str) -> None:
    """Install into ``.venv`` what the pins say."""
    pins = ["--constraints", str(CONSTRAINTS), "--build-constraints", str(CONSTRAINTS)]
    options = ["--quiet", "--compile-bytecode", "--python", str(PYTHON), *pins]
    check(str(uv), "pip", "install", *options, *what)


def compile_request_path() -> None:
    """Put a copy of Portico in place of the link to this checkout, compiled as far as hatch_build.py says."""
    say("compiling the request path")
    (VENV / "bootstrapped").unlink()  # the next install follows the checkout again
    os.environ["PORTICO_COMPILE"] = "1"
    pip_install(VENV / "bin" / "uv", "--no-deps", "--reinstall-package", "portico", str(ROOT))


def make_venv() -> None:
    """An environment with pip; on Debian pip's seed is a package of its own."""
    if venv_works():
        return
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    check(sys.executable, "-m", "venv", "--clear", str(VENV))


def venv_works() -> bool:
    """Whether there is a whole environment that was made for this very place."""
    try:
        # The scripts of an environment that was moved or copied still start the interpreter of the old place.
        made_here = str(VENV) in (VENV / "bin" / "pip").read_text()
        pip = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return made_here and pip.returncode == 0


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
    apt_get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    # One of several sources being away makes an update fail; whether that matters, the next step tells.
    subprocess.run([*apt_get, "update"], check=False)
    check(*apt_get, "install", "--yes", "--no-install-recommends", package)


def install_uv() -> Path:
    """The pinned uv, checked against the pinned hashes; it installs and checks everything else."""
    pin = re.search(r"^uv==.*\n(?:[ #].*\n)*", CONSTRAINTS.read_text(), re.MULTILINE)
    if pin is None:
        sys.exit("error: constraints.txt has no pin for uv")
    requirement = VENV / "uv-requirement.txt"
    requirement.write_text(pin[0])
    pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    check(*pip, "--require-hashes", "--requirement", str(requirement))
    return VENV / "bin" / "uv"


def check(*command: str) -> None:
    """Run a step of the set-up; its failure ends this program."""
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(
            f"error: `{shlex.join(command)}` failed with status {status}; see above\n"
            "Set-up needs the network: behind a proxy, set HTTPS_PROXY. Then run this again; it goes on from here."
        )


def run_in_place(command: str, *arguments: str) -> None:
    """Become `command`, so that signals and the exit status are its own."""
    program = VENV / "bin" / command
    os.execv(program, [str(program), *arguments])


def say(text: str) -> None:
    """Tell what goes on, aside from the output of what is run."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run this again to go on")
