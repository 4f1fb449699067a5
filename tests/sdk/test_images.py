"""Image recipes: immutable, lazy, exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico import FilePatternMatcher, Image, Secret
from portico.blobs import BlobSet
from portico.exception import InvalidError
from portico.wire import image as wire


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spec(image: Image) -> wire.ImageSpec:
    return image.spec(BlobSet())


def put(path: str, content: str = "x") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def test_steps_make_new_images():
    base = Image.debian_slim("3.12")
    one = base.pip_install("six")
    two = base.env({"A": "1"})
    assert spec(base).steps == ()
    assert spec(one).steps == (wire.PipInstall(packages=("six",)),)
    assert spec(two).env == {"A": "1"}
    assert spec(one).base == wire.DebianSlim(python_version="3.12")


def test_every_step_reaches_the_recipe():
    image = (
        Image.from_registry("python:3.12", add_python="3.12", setup_dockerfile_commands=["USER a"])
        .pip_install(
            ["a", "b"],
            "c",
            find_links="f",
            index_url="i",
            extra_index_url="e",
            pre=True,
            extra_options="--no-deps",
        )
        .apt_install("git", ["curl"])
        .run_commands("true")
        .dockerfile_commands("RUN x", ["RUN y"])
        .workdir("/root/w")
        .entrypoint(["e"])
        .cmd(["c"])
    )
    assert spec(image).base == wire.Registry(
        tag="python:3.12", add_python="3.12", setup_dockerfile_commands=("USER a",)
    )
    assert spec(image).steps == (
        wire.PipInstall(
            packages=("a", "b", "c"),
            find_links="f",
            index_url="i",
            extra_index_url="e",
            pre=True,
            extra_options="--no-deps",
        ),
        wire.AptInstall(packages=("git", "curl")),
        wire.RunCommands(commands=("true",)),
        wire.DockerfileCommands(commands=("RUN x", "RUN y")),
        wire.Workdir(path="/root/w"),
        wire.Entrypoint(command=("e",)),
        wire.Cmd(command=("c",)),
    )


def test_requirements_are_read_when_the_recipe_is_made_and_inlined():
    image = Image.debian_slim().pip_install_from_requirements("reqs/all.txt", pre=True)
    with pytest.raises(InvalidError, match=r"no file reqs/all.txt"):
        spec(image)
    put("reqs/all.txt", "six==1.16.0\n-r more.txt\n")
    put("reqs/more.txt", "idna\n")
    (step,) = spec(image).steps
    assert step == wire.PipInstall(requirements="six==1.16.0\nidna", pre=True)
    put("reqs/more.txt", "-e ../lib\n")
    with pytest.raises(InvalidError, match="add_local_python_source"):
        spec(image)


def test_uv_pip_install_takes_requirements_files():
    put("r.txt", "idna")
    image = Image.debian_slim().uv_pip_install("six", requirements=["r.txt"])
    assert spec(image).steps == (wire.PipInstall(packages=("six",), requirements="idna"),)


def test_pyproject_dependencies_and_extras():
    put(
        "pyproject.toml",
        '[project]\ndependencies=["six"]\n[project.optional-dependencies]\nweb=["flask"]\n',
    )
    slim = Image.debian_slim()
    assert spec(slim.pip_install_from_pyproject("pyproject.toml", ["web"])).steps == (
        wire.PipInstall(packages=("six", "flask")),
    )
    with pytest.raises(InvalidError, match="it has: web"):
        spec(slim.pip_install_from_pyproject("pyproject.toml", ["db"]))
    put("bad.toml", "= 1")
    with pytest.raises(InvalidError, match="not TOML"):
        spec(slim.pip_install_from_pyproject("bad.toml"))


def test_local_files_travel_by_content():
    put("data/a.txt", "hello").chmod(0o755)
    blobs = BlobSet()
    image = (
        Image.debian_slim()
        .add_local_file("data/a.txt", "/root/etc/")
        .add_local_file("data/a.txt", "b.txt", copy=True)
    )
    files = image.spec(blobs).files
    assert [f.path for f in files] == ["/root/etc/a.txt", "b.txt"]
    assert files[0].size == 5
    assert files[0].executable
    assert blobs.sources[files[0].sha256] == Path("data/a.txt").absolute()


def test_missing_local_things_are_named():
    slim = Image.debian_slim()
    for image in (
        slim.add_local_file("nope.txt", "/root/x"),
        slim.add_local_dir("nope.txt", "/root/x"),
        slim.add_local_python_source("nope_txt"),
        Image.from_dockerfile("nope.txt"),
    ):
        with pytest.raises(InvalidError, match=r"nope.txt"):
            spec(image)
    put("d/x")
    with pytest.raises(InvalidError, match="use add_local_dir"):
        spec(slim.add_local_file("d", "/root/x"))
    with pytest.raises(InvalidError, match=r"without '\.\.'"):
        slim.add_local_dir("d", "/root/../etc")


def test_folders_leave_out_caches_and_history_at_any_depth():
    for name in ("a.py", "s/b.py", "s/__pycache__/b.pyc", ".git/HEAD", "s/.venv/x", ".env"):
        put(f"d/{name}")
    paths = [f.path for f in spec(Image.debian_slim().add_local_dir("d", "/root/d")).files]
    assert paths == ["/root/d/.env", "/root/d/a.py", "/root/d/s/b.py"]


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        (["*.txt"], ["a.py", "s/b.txt", "s/c.py"]),
        (["**/*.txt"], ["a.py", "s/c.py"]),
        (["s"], ["a.py", "z.txt"]),
        (["s", "!s/c.py"], ["a.py", "s/c.py", "z.txt"]),
        (lambda p: p.suffix == ".py", ["s/b.txt", "z.txt"]),
        (~FilePatternMatcher("**/*.py"), ["a.py", "s/c.py"]),
        ([], ["a.py", "s/b.txt", "s/c.py", "z.txt"]),
    ],
)
def test_ignore(ignore, kept):
    for name in ("a.py", "z.txt", "s/b.txt", "s/c.py"):
        put(f"d/{name}")
    files = spec(Image.debian_slim().add_local_dir("d", "d", ignore=ignore)).files
    assert [f.path for f in files] == [f"d/{name}" for name in kept]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "d/a.py", False),
        ("**/a", "a", True),
        ("**/a", "x/y/a/z", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].x", "b.x", True),
        ("[!ab].x", "b.x", False),
        ("./d/", "d/f", True),
        ("a.c", "abc", False),
        ("# note", "# note", False),
    ],
)
def test_patterns(pattern, path, matches):
    assert FilePatternMatcher(pattern)(Path(path)) is matches


def test_python_sources_land_where_they_can_be_imported(monkeypatch, tmp_path):
    put("lib/pkg/__init__.py")
    put("lib/pkg/sub/mod.py")
    put("lib/pkg/data.json")
    put("lib/single.py")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    image = Image.debian_slim().add_local_python_source("pkg", "single")
    assert [f.path for f in spec(image).files] == [
        "pkg/__init__.py",
        "pkg/sub/mod.py",
        "single.py",
    ]


def test_a_dockerfile_brings_its_context_only_for_copies():
    put("Dockerfile", "FROM x\nRUN y\n")
    put("f.txt")
    assert spec(Image.from_dockerfile("Dockerfile")).base.context == ()
    put("Dockerfile", "FROM x\nCOPY f.txt /\n")
    context = spec(Image.from_dockerfile("Dockerfile")).base.context
    assert [f.path for f in context] == ["Dockerfile", "f.txt"]


def test_mounted_files_do_not_change_the_digest_and_copied_ones_do():
    put("a", "1")
    slim = Image.debian_slim()
    mounted, copied = slim.add_local_file("a", "/root/a"), slim.add_local_file("a", "a", copy=True)
    before = [spec(i).digest() for i in (slim, mounted, copied)]
    put("a", "2")
    after = [spec(i).digest() for i in (slim, mounted, copied)]
    assert before[0] == before[1] == after[1]
    assert before[2] != after[2]


@pytest.mark.parametrize("version", [3.12, "2.7", "3", "three", 3])
def test_a_python_version_is_text(version):
    with pytest.raises(InvalidError, match="python_version"):
        Image.debian_slim(python_version=version)


def test_wrong_values_are_refused():
    slim = Image.debian_slim()
    with pytest.raises(InvalidError, match="lists of strings"):
        slim.pip_install(1)
    with pytest.raises(InvalidError, match=r"str\(\)"):
        slim.env({"A": 1})
    with pytest.raises(InvalidError, match=r"requirements=\['r.txt'\]"):
        slim.uv_pip_install(requirements="r.txt")


def test_imports_are_forgiven_where_the_image_is_not():
    image = Image.debian_slim()
    with image.imports():
        import package_of_nobody  # noqa: F401
    image.check_imports()
    with pytest.raises(ZeroDivisionError), image.imports():
        _ = 1 / 0


def test_imports_are_real_in_the_images_own_containers(monkeypatch):
    monkeypatch.setenv("PORTICO_CONTAINER_ID", "ta-1")
    image, other = Image.debian_slim(), Image.debian_slim()
    with image.imports():
        import package_of_nobody  # noqa: F401
    other.check_imports()
    with pytest.raises(ModuleNotFoundError, match="package_of_nobody"):
        image.check_imports()
    with pytest.raises(ModuleNotFoundError):
        image.env({}).check_imports()


def test_dotenv_files():
    put(
        ".env",
        "# note\nexport A=1\nB = two words # note\nC='a $A #'\nD=\"x\\n${A}\"\nE=\nF=${NONE:-d}\nG=a#b\r\n"
        'H="two\nlines"\nnot an entry\n',
    )
    assert Secret.from_dotenv().spec.values == {
        "A": "1",
        "B": "two words",
        "C": "a $A #",
        "D": "x\n1",
        "E": "",
        "F": "d",
        "G": "a#b",
        "H": "two\nlines",
    }
    put("sub/x.py")
    with pytest.raises(InvalidError, match=r"no .env in .*sub;"):
        Secret.from_dotenv("sub/x.py")


def test_secrets_of_the_local_environment(monkeypatch):
    monkeypatch.setenv("TOKEN_X", "hush")
    secret = Secret.from_local_environ(["TOKEN_X"])
    assert secret.spec.values == {"TOKEN_X": "hush"}
    assert "hush" not in repr(secret)
    with pytest.raises(InvalidError, match="TOKEN_Y"):
        Secret.from_local_environ(["TOKEN_Y"])
    monkeypatch.setenv("PORTICO_CONTAINER_ID", "ta-1")
    assert Secret.from_local_environ(["TOKEN_Y"]).spec.values == {}


def test_named_secrets():
    assert Secret.from_name("db", required_keys=["URL"]).spec.required_keys == ("URL",)
    assert Secret.from_dict({"A": "1", "B": None}).spec.values == {"A": "1"}
    with pytest.raises(InvalidError, match="non-empty"):
        Secret.from_name("")
