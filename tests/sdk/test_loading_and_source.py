"""Loading scripts, what travels with them, and the manifest. Each load has an interpreter of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import cloudpickle
import pytest

import portico
from portico.exception import InvalidError
from portico.loading import parse_reference
from portico.manifest import build_manifest

SCRIPT = """
import modal
app = modal.App("shop")

@app.function()
def f(x):
    return x + 1
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(content))


def python(code: str, cwd: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", textwrap.dedent(code), *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


LOAD = """
import json, sys
from portico.exception import InvalidError
from portico.loading import find_app, load_script, parse_reference
from portico.manifest import build_manifest
try:
    target, name = parse_reference(sys.argv[1])
    manifest, blobs = build_manifest(find_app(load_script(target), name))
except InvalidError as error:
    print(json.dumps({"refused": str(error)}))
else:
    print(json.dumps({
        "name": manifest.name,
        "functions": [[f.name, f.module, f.qualname, f.serialized is not None] for f in manifest.functions],
        "files": [f.path for f in manifest.files],
    }))
"""


def load(folder: Path, target: str) -> dict:
    done = python(LOAD, folder, target)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_script_travels_with_the_modules_it_imports(tmp_path):
    write(
        tmp_path,
        {
            "hello.py": SCRIPT + "import helper, pkg.sub.leaf, json, space.inner\n",
            "helper.py": "def g():\n    import lazy\n",
            "lazy.py": "from pkg2 import thing",
            "pkg/__init__.py": "",
            "pkg/sub/__init__.py": "",
            "pkg/sub/leaf.py": "",
            "pkg/sub/sibling.py": "from ..unused import x",
            "pkg/unused.py": "",
            "pkg/data.json": "{}",
            "pkg/.env": "SECRET=1",
            "pkg2/__init__.py": "",
            "space/inner.py": "",
            "space/other.py": "",
            "not_imported.py": "",
            ".venv/lib/python3/site-packages/third.py": "",
        },
    )
    loaded = load(tmp_path, "hello.py")
    assert loaded["functions"] == [["f", "hello", "f", False]]
    assert loaded["files"] == [
        "hello.py",
        "helper.py",
        "lazy.py",
        "pkg/__init__.py",
        "pkg/sub/__init__.py",
        "pkg/sub/leaf.py",
        "pkg/sub/sibling.py",
        "pkg/unused.py",
        "pkg2/__init__.py",
        "space/inner.py",
    ]


def test_site_packages_below_the_root_stay_behind(tmp_path):
    write(
        tmp_path,
        {
            "hello.py": "import sys\nsys.path.append('lib/site-packages')\nimport third\n" + SCRIPT,
            "lib/site-packages/third.py": "",
        },
    )
    assert load(tmp_path, "hello.py")["files"] == ["hello.py"]


def test_a_module_of_a_package_is_named_by_its_dotted_name(tmp_path):
    write(
        tmp_path,
        {
            "shop/__init__.py": "",
            "shop/web/__init__.py": "",
            "shop/web/main.py": "from . import parts\nfrom ..base import app\n"
            + "@app.function()\ndef f(): ...\n",
            "shop/web/parts.py": "",
            "shop/base.py": "import portico\napp = portico.App()\n",
            "other.py": "",
        },
    )
    loaded = load(tmp_path, "shop.web.main")
    assert loaded["name"] == "shop.web.main"
    assert loaded["functions"] == [["f", "shop.web.main", "f", False]]
    assert loaded["files"] == [
        "shop/__init__.py",
        "shop/base.py",
        "shop/web/__init__.py",
        "shop/web/main.py",
        "shop/web/parts.py",
    ]


def test_a_script_loads_from_any_folder_and_names_its_app(tmp_path):
    write(
        tmp_path,
        {"sub/web_demo.py": SCRIPT.replace('"shop"', "") + "import near\n", "sub/near.py": ""},
    )
    loaded = load(tmp_path, "sub/web_demo.py")
    assert loaded["name"] == "web_demo"
    assert loaded["files"] == ["near.py", "web_demo.py"]


def test_include_source_false_sends_no_file(tmp_path):
    write(tmp_path, {"hello.py": SCRIPT.replace('"shop"', '"shop", include_source=False')})
    assert load(tmp_path, "hello.py")["files"] == []


def test_a_script_that_runs_as_main_has_the_name_of_its_file(tmp_path):
    write(
        tmp_path,
        {
            "hello.py": SCRIPT.replace("modal", "portico")
            + "from portico.manifest import build_manifest\n"
            + "m = build_manifest(app)[0]\nprint(m.functions[0].module, [f.path for f in m.files])\n"
        },
    )
    done = subprocess.run(
        [sys.executable, "hello.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "hello ['hello.py']\n", done.stderr


def test_code_without_a_file_travels_pickled(tmp_path):
    done = python(
        """
        import cloudpickle, portico
        from portico.manifest import build_manifest
        app = portico.App("note")
        FACTOR = 3
        @app.function()
        def f(x):
            return helper(x) * FACTOR
        def helper(x):
            return x + 1
        @app.cls()
        class C:
            n: int = portico.parameter(default=2)
            @portico.method()
            def go(self):
                return f.local(self.n)
        manifest, _ = build_manifest(app)
        open("f", "wb").write(manifest.functions[0].serialized)
        open("c", "wb").write(manifest.functions[1].serialized)
        print(manifest.files)
        """,
        tmp_path,
    )
    assert done.stdout == "()\n", done.stderr
    assert cloudpickle.loads((tmp_path / "f").read_bytes())(1) == 6
    done = python(
        """
        import cloudpickle
        from portico.cls import instantiate
        from portico.lifecycle import methods
        c = cloudpickle.loads(open("c", "rb").read())
        print(methods(c)["go"](instantiate(c, {})))
        """,
        tmp_path,
    )
    assert done.stdout == "9\n", done.stderr


def test_serialized_functions_of_a_module_need_no_module(tmp_path):
    write(
        tmp_path,
        {
            "hello.py": """
            import portico
            app = portico.App("a")
            def helper(x):
                return x * 2
            def make():
                @app.function(serialized=True)
                def inner(x):
                    return helper(x)
                return inner
            make()
            """
        },
    )
    code = LOAD + 'open("f", "wb").write(manifest.functions[0].serialized)'
    done = python(code, tmp_path, "hello.py")
    assert json.loads(done.stdout)["files"] == [], done.stderr
    (tmp_path / "hello.py").unlink()
    done = python('import cloudpickle; print(cloudpickle.load(open("f", "rb"))(4))', tmp_path)
    assert done.stdout == "8\n", done.stderr


@pytest.mark.parametrize(
    ("files", "target", "message"),
    [
        ({}, "nope.py", "there is no file nope.py"),
        ({}, "nope", "no file and no module nope"),
        ({}, "no pe", "there is no file no pe"),
        ({"a.txt": ""}, "a.txt", "by its name"),
        ({"a.b.py": ""}, "a.b.py", "rename it like a_b.py"),
        ({"json.py": ""}, "json.py", "the name of another module"),
        ({"portico.py": ""}, "portico.py", "the name of another module"),
        ({"a.py": "x = 1"}, "a.py", "has no app"),
        ({"a.py": SCRIPT + "b = modal.App('b')"}, "a.py", "several apps (app, b)"),
        ({"a.py": SCRIPT}, "a.py::shopping", "no app 'shopping'; its apps are: app"),
        ({"a.py": "import modal\napp = modal.App('x')"}, "a.py", "has no functions"),
    ],
)
def test_scripts_that_cannot_be_loaded(tmp_path, files, target, message):
    write(tmp_path, files)
    assert message in load(tmp_path, target)["refused"]


def test_an_app_is_found_by_variable_by_name_and_without_the_included(tmp_path):
    write(
        tmp_path,
        {
            "parts.py": SCRIPT.replace("shop", "parts"),
            "a.py": SCRIPT.replace("def f", "def g")
            + "from parts import app as inner\napp.include(inner)\n",
        },
    )
    loaded = load(tmp_path, "a.py")
    assert loaded["name"] == "shop"
    assert [f[:2] for f in loaded["functions"]] == [["g", "a"], ["f", "parts"]]
    assert load(tmp_path, "a.py::inner")["name"] == "parts"
    assert load(tmp_path, "a.py::parts")["name"] == "parts"


def test_the_users_own_exception_passes_and_the_module_is_forgotten(tmp_path):
    write(tmp_path, {"bad.py": "1 / 0"})
    done = python(
        """
        import sys
        from portico.loading import load_script
        try:
            load_script("bad.py")
        except ZeroDivisionError:
            print("bad" in sys.modules)
        """,
        tmp_path,
    )
    assert done.stdout == "False\n", done.stderr


def test_references():
    assert parse_reference("a.py") == ("a.py", None)
    assert parse_reference("a.py::f") == ("a.py", "f")
    for text in ("", "::f", "a.py::"):
        with pytest.raises(InvalidError):
            parse_reference(text)


app = portico.App("whole", secrets=[portico.Secret.from_name("one")])
image = portico.Image.debian_slim().pip_install("six")


@app.function(
    image=image,
    secrets=[portico.Secret.from_dict({"A": "1"})],
    env={"B": "2"},
    cpu=2,
    memory=512,
    gpu="T4",
    timeout=10,
    startup_timeout=20,
    enable_memory_snapshot=True,
    retries=portico.Retries(max_retries=2),
)
def work(x: int) -> int:
    """Documented."""
    return x


@app.function(image=image)
@portico.asgi_app(label="site", requires_proxy_auth=True)
def site(): ...


@app.function(image=portico.Image.debian_slim().pip_install("six").add_local_file(__file__, "t.py"))
def stream():
    yield 1


def test_the_manifest_has_everything():
    manifest, blobs = build_manifest(app)
    spec, web, generator = manifest.functions
    assert (spec.cpu, spec.memory, spec.gpu) == (2.0, 512, "T4")
    assert (spec.timeout, spec.startup_timeout, spec.enable_memory_snapshot) == (10, 20, True)
    assert spec.retries is not None
    assert spec.retries.max_retries == 2
    assert [type(s).__name__ for s in spec.secrets] == ["NamedSecret", "InlineSecret"]
    assert spec.env == {"B": "2"}
    assert web.methods[0].web is not None
    assert web.methods[0].web.label == "site"
    assert generator.methods[0].is_generator
    assert spec.image == web.image
    assert len(manifest.images) == 2  # the same build, but not the same files
    assert {i.digest() for i in manifest.images.values()} == {image.spec(None).digest()}
    for file in (*manifest.files, *manifest.images[generator.image].files):
        content = Path(blobs[file.sha256]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert len(content) == file.size


def test_a_function_is_itself_locally():
    assert work.local(3) == 3
    assert work.raw.__name__ == work.__name__ == "work"
    assert work.__doc__ == "Documented."


def test_deploy_wants_a_name():
    nameless = portico.App()
    with pytest.raises(InvalidError, match="needs a name"):
        nameless.deploy()
