r"""Query parameters become the function's arguments, checked against its annotations.

    $ portico serve examples/query_parameters.py
    $ curl "$URL?x=12"
    {"x":12,"square":144}
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL?x=twelve"
    422

An argument that is no integer is the client's mistake: 422, with FastAPI's explanation of it as JSON. With
`docs=True`, `$URL/docs` describes the endpoint.
"""

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("query-parameters", image=image)


@app.function()
@portico.fastapi_endpoint(docs=True)
def square(x: int) -> dict[str, int]:
    return {"x": x, "square": x**2}
