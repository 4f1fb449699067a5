"""What may not be in the repository, whoever commits it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# In parts, so that this file does not itself contain what it forbids.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted"),
        ("registry", "npmjs"),
        ("registry", "yarnpkg"),
        ("deb", "debian"),
        ("security", "debian"),
        ("archive", "ubuntu"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang"),
        ("registry-1", "docker"),
    )
]
MACHINE_PATHS = [
    "/".join(parts) for parts in (("", "work", ""), ("", "root", ".pyenv"), ("", "root", ".cargo"))
]

FORBIDDEN = re.compile(
    "|".join(
        [
            *(rf"\b{re.escape(host)}\b" for host in REGISTRIES),
            *(rf"(?<![\w.~-]){re.escape(path)}" for path in MACHINE_PATHS),
        ]
    ),
    re.IGNORECASE,
)

PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^]]*\])?==[^\s;]+")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def forbidden(text: str) -> list[str]:
    """Lines of `text` that name a package registry or a path of a development machine, with their numbers."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {line.strip()[:120]}" for number, line in lines if FORBIDDEN.search(line)]


def unsafe_pins(text: str) -> list[str]:
    """Requirements of a constraints file that are not pinned with a hash, or that name a URL."""
    uncommented = (
        re.sub(r"(^|\s)#.*", "", line) for line in text.replace("\\\n", " ").splitlines()
    )
    requirements = [line.strip() for line in uncommented if line.strip()]
    return [
        requirement
        for requirement in requirements
        if not PINNED.match(requirement) or not HASH.search(requirement) or "://" in requirement
    ]


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is committed, or would be by ``git add --all``."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def test_no_file_names_a_registry_or_a_path_of_this_machine(files: list[Path]) -> None:
    assert Path(__file__).resolve() in [path.resolve() for path in files]
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in forbidden(path.read_bytes().decode("utf-8", "replace"))
    ]
    assert found == []


def test_constraints_are_pinned_with_hashes_and_without_urls() -> None:
    constraints = ROOT / "constraints.txt"
    if not constraints.exists():
        pytest.skip("there is no constraints.txt yet")
    text = constraints.read_text("utf-8")
    assert HASH.search(text)
    assert unsafe_pins(text) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_what_they_show(example: Path) -> None:
    assert ast.get_docstring(ast.parse(example.read_text("utf-8")))


# ---- the rules see what they are there for


@pytest.mark.parametrize("name", [*REGISTRIES, *MACHINE_PATHS])
def test_a_forbidden_name_is_seen(name: str) -> None:
    assert forbidden(f"fine\nsee ({name})") == [f"2: see ({name})"]


def test_names_that_only_look_alike_are_not() -> None:
    harmless = [
        "/root/work/data",
        "~/work/x",
        "./work/x",
        "mypypi-org",
        "/root/app",
        "https://a.invalid/work/",
    ]
    assert forbidden("\n".join(harmless)) == []


def test_an_unsafe_requirement_is_seen() -> None:
    digest = "0" * 64
    good = f"six==1.17.0 \\\n    --hash=sha256:{digest}  # via x\nuvloop[a]==1 ; os == 'x' --hash=sha256:{digest}\n# note\n"
    assert unsafe_pins(good) == []
    for bad in (
        "six==1.17.0",
        f"six>=1 --hash=sha256:{digest}",
        f"six @ https://a.invalid/six.whl --hash=sha256:{digest}",
        "--index-url https://a.invalid/simple",
        "six==1.17.0 --hash=md5:abc",
    ):
        assert unsafe_pins(good + bad) == [bad]
