"""tornado, with the address of the real client.

    $ portico serve examples/web_server_tornado.py
    $ curl "$URL/"
    Hello from tornado, 127.0.0.1!

`xheaders=True` has tornado believe `X-Forwarded-For`, which the gateway sets and no client can forge.
"""

import subprocess
import sys

import portico

image = portico.Image.debian_slim().pip_install("tornado")
app = portico.App("web-server-tornado", image=image)


@app.function(allow_concurrent_inputs=1000)
@portico.web_server(8888)
def web() -> None:
    subprocess.Popen([sys.executable, __file__])


async def serve() -> None:
    import asyncio

    from tornado.web import Application, RequestHandler

    class Hello(RequestHandler):
        def get(self) -> None:
            self.write(f"Hello from tornado, {self.request.remote_ip}!\n")

    Application([("/", Hello)]).listen(8888, xheaders=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import asyncio

    asyncio.run(serve())
