r"""Anything that listens on a port: here Python's own file server.

    $ portico serve examples/web_server_files.py
    $ curl "$URL/hello.txt"
    Served from a container.
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL/missing.txt"
    404

The function starts the server and returns. Each container has a network of its own, so the port may well be taken on
your machine, or by another container.
"""

import subprocess
from pathlib import Path

import portico

app = portico.App("web-server-files")


@app.function(allow_concurrent_inputs=100)
@portico.web_server(8000)
def files() -> None:
    folder = Path("public")
    folder.mkdir()
    (folder / "hello.txt").write_text("Served from a container.\n")
    subprocess.Popen("python -m http.server --directory public 8000", shell=True)
