"""aiohttp binds its network port itself, so it is a `web_server`.

    $ portico serve examples/web_server_aiohttp.py
    $ curl "$URL/weather/oslo"
    {"city": "oslo", "degrees": 4}
    $ curl "$URL/weather/atlantis"
    404: no such city

The module starts itself as a script: one file holds the server and its deployment.
"""

import subprocess
import sys

import portico

image = portico.Image.debian_slim().pip_install("aiohttp")
app = portico.App("web-server-aiohttp", image=image)

DEGREES = {"oslo": 4, "lisbon": 19}


@app.function(allow_concurrent_inputs=1000)
@portico.web_server(8080)
def web() -> None:
    subprocess.Popen([sys.executable, __file__])


def serve() -> None:
    from aiohttp import web as http

    async def weather(request: http.Request) -> http.Response:
        city = request.match_info["city"]
        if city not in DEGREES:
            raise http.HTTPNotFound(text="404: no such city\n")
        return http.json_response({"city": city, "degrees": DEGREES[city]})

    site = http.Application()
    site.add_routes([http.get("/weather/{city}", weather)])
    http.run_app(site, host="0.0.0.0", port=8080, print=None)


if __name__ == "__main__":
    serve()
