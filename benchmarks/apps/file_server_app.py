"""``python -m http.server`` behind Portico, over a folder with a small and a large file."""

import os
import subprocess

from recipe import image

import portico

app = portico.App("bench-files", image=image)
FOLDER = os.environ.get("BENCH_FILES", "")
SERVER = "python -m http.server --bind 0.0.0.0 --protocol {0} --directory {1} 8000 2>/dev/null"
options = {
    "allow_concurrent_inputs": 1000,
    "min_containers": 1,
    "max_containers": 1,
    "env": {"BENCH_FILES": FOLDER},
}


@app.function(**options)
@portico.web_server(8000)
def http10() -> None:
    subprocess.Popen(SERVER.format("HTTP/1.0", FOLDER), shell=True)


@app.function(**options)
@portico.web_server(8000)
def http11() -> None:
    subprocess.Popen(SERVER.format("HTTP/1.1", FOLDER), shell=True)
