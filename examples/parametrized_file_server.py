r"""One server, many configurations: each value of a parameter has containers of its own.

    $ portico serve examples/parametrized_file_server.py
    $ curl -s "$URL/spring.txt"
    crocus
    $ curl -s "$URL/autumn.txt?root=archive%2Fautumn"
    aster
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL/spring.txt?root=archive%2Fautumn"
    404

Both servers listen on port 8000 at the same time. Remember to encode what a URL cannot say as it is, such as `/`.
"""

import subprocess
from pathlib import Path

import portico

app = portico.App("parametrized-file-server")


@app.cls(allow_concurrent_inputs=1000)
class Server:
    root: str = portico.parameter(default=".")

    @portico.enter()
    def write_files(self) -> None:
        Path("archive/autumn").mkdir(parents=True)
        Path("spring.txt").write_text("crocus\n")
        Path("archive/autumn/autumn.txt").write_text("aster\n")

    @portico.web_server(8000)
    def files(self) -> None:
        subprocess.Popen(f"python -m http.server -d {self.root} 8000", shell=True)
