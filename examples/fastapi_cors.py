r"""A browser's page on any site may call a simple endpoint: CORS is open, with credentials.

    $ portico serve examples/fastapi_cors.py
    $ curl -s -i -H 'Origin: https://shop.example' "$URL/" | grep -i '^access-control-allow-origin' | tr -d '\r'
    access-control-allow-origin: https://shop.example
    $ curl -s -o /dev/null -w '%{http_code}\n' -X OPTIONS -H 'Origin: https://shop.example' -H 'Access-Control-Request-Method: GET' "$URL/"
    200
    $ curl -s "$URL/docs" | grep -o '<title>.*</title>'
    <title>price - Swagger UI</title>

`docs=True` adds the interactive documentation. Who needs other rules for origins serves an app of their own with
`asgi_app` and FastAPI's `CORSMiddleware`.
"""

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("fastapi-cors", image=image)


@app.function()
@portico.fastapi_endpoint(docs=True)
def price(pieces: int = 1) -> dict[str, int]:
    return {"pieces": pieces, "cents": 250 * pieces}
