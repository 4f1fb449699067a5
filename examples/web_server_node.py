"""A server in another language: Node, where the machine has it.

    $ portico serve examples/web_server_node.py
    $ curl "$URL/path?x=1"
    GET /path?x=1
    $ curl -d 'some data' "$URL/"
    POST /, 9 bytes

In the process sandbox a container uses the programs of your machine.
"""

import subprocess

import portico

app = portico.App("web-server-node")

PROGRAM = """
require("http").createServer((request, response) => {
  let size = 0
  request.on("data", piece => size += piece.length)
  request.on("end", () => {
    response.end(`${request.method} ${request.url}${size ? `, ${size} bytes` : ""}\\n`)
  })
}).listen(3000)
"""


@app.function(allow_concurrent_inputs=1000)
@portico.web_server(3000)
def web() -> None:
    subprocess.Popen(["node", "-e", PROGRAM])
